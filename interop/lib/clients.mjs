// The genuine clients: one row for each release, and the transports that the tests use.

import { createRequire } from 'node:module';
import { describe } from 'node:test';

const require = createRequire(import.meta.url);

/** `revision` is the Socket.IO protocol revision, `eio` the Engine.IO revision the client announces. */
const RELEASES = [
  { version: '4.8.4', revision: 5, eio: 4 },
  { version: '4.0.2', revision: 5, eio: 4 },
  { version: '3.1.3', revision: 5, eio: 4 },
  { version: '2.5.0', revision: 4, eio: 3 },
  { version: '2.0.4', revision: 4, eio: 3 },
  { version: '1.7.4', revision: 4, eio: 3 },
  { version: '1.3.7', revision: 4, eio: 3 },
];

export const TRANSPORTS = Object.freeze({
  polling: ['polling'],
  websocket: ['websocket'],
  upgrade: ['polling', 'websocket'],
});

export const clients = select(process.env.SIO_CLIENTS);

/** The newest client, for the cases in which the release does not matter. */
export const newest = load(RELEASES[0]);

/** One `describe` block for every client and transport. */
export function eachClient(body, options = {}) {
  for (const client of clients) {
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
      describe(`${client.version} over ${name}`, options, () => body(client, transports));
    }
  }
}

/** One client of every release. The transports are used in turn, so that the crowd is mixed. */
export function mixedCrowd() {
  const names = Object.keys(TRANSPORTS);
  return clients.map((client, index) => ({ client, transports: TRANSPORTS[names[index % names.length]] }));
}

function select(list) {
  if (!list) return RELEASES.map(load);
  return list.split(',').map((version) => {
    const release = RELEASES.find((one) => one.version === version);
    if (!release) throw new Error(`SIO_CLIENTS names ${version}; known are ${RELEASES.map((one) => one.version)}`);
    return load(release);
  });
}

function load(release) {
  const name = `sioc-${release.version}`;
  const installed = require(`${name}/package.json`).version;
  if (installed !== release.version) throw new Error(`${name} is ${installed} in node_modules`);
  return { ...release, io: require(name) };
}
