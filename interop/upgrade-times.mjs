// How long genuine clients take from `open` to `upgrade`, with our server and with genuine ones, in turns:
// node upgrade-times.mjs [--n CONNECTS] PROGRAM…
// A PROGRAM is a conformance server that has been built, for example ../target/release/conformance-server.

import { parseArgs } from 'node:util';
import { clients, TRANSPORTS } from './lib/clients.mjs';
import { GENUINE, startServer } from './lib/servers.mjs';
import { freePorts, OwnServer } from './lib/own-server.mjs';
import { within } from './lib/wait.mjs';

const { values, positionals: programs } = parseArgs({
  options: { n: { type: 'string', default: '200' } },
  allowPositionals: true,
});
const count = Number(values.n);
const PEERS = { '4.8.4': 'socket.io 4.8.1', '2.5.0': 'socket.io 2.5.1' };

const endings = [];
const servers = [];
for (const program of programs) {
  const server = new OwnServer(await freePorts(3), [], program);
  await server.begin();
  endings.push(() => server.end('SIGKILL'));
  servers.push({ name: program, port: server.port });
}

/** Connects once, and returns the milliseconds from `open` to `upgrade`. */
function connectOnce(client, port) {
  const socket = client.io(`http://127.0.0.1:${port}`, { forceNew: true, reconnection: false, transports: TRANSPORTS.upgrade });
  const { engine } = socket.io;
  let opened;
  engine.once('open', () => { opened = performance.now(); });
  const upgraded = new Promise((resolve) => { engine.once('upgrade', () => resolve(performance.now() - opened)); });
  return within(upgraded, 'the upgrade', 10_000).finally(() => socket.disconnect());
}

/** One line: the quantiles, and how many connects took 10, 20, 50, 90 ms and more. */
function line(name, times) {
  times.sort((a, b) => a - b);
  const quantile = (q) => times[Math.min(times.length - 1, Math.floor(q * times.length))].toFixed(1).padStart(6);
  const above = [10, 20, 50, 90].map((ms) => `${times.filter((time) => time >= ms).length}`.padStart(4));
  return `${name.padEnd(40)} ${[0.01, 0.25, 0.5, 0.75, 0.9, 0.99].map(quantile).join(' ')} ${quantile(1)}  ${above.join(' ')}`;
}

try {
  for (const client of clients.filter(({ version }) => version in PEERS)) {
    const row = GENUINE.find(({ name }) => name === PEERS[client.version]);
    const genuine = await startServer(row, (end) => endings.push(end));
    const all = [{ name: row.name, port: genuine.port }, ...servers].map((server) => ({ ...server, times: [] }));
    for (let round = 0; round < count; round += 1) {
      for (const server of all) server.times.push(await connectOnce(client, server.port));
    }
    console.log(`\nclient ${client.version}, ${count} connects; milliseconds from open to upgrade; how many took 10, 20, 50, 90 ms and more`);
    console.log(`${''.padEnd(40)} ${['1 %', '25 %', '50 %', '75 %', '90 %', '99 %', 'most'].map((word) => word.padStart(6)).join(' ')}  ${['10+', '20+', '50+', '90+'].map((word) => word.padStart(4)).join(' ')}`);
    for (const server of all) console.log(line(server.name, server.times));
  }
} finally {
  for (const end of endings) await end();
}
process.exit(0);
