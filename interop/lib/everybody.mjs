// All clients that reconnect by themselves: each release over each of its transports.

import assert from 'node:assert/strict';
import { clients, TRANSPORTS } from './clients.mjs';
import { connectOld, OLD_RELEASES, OLD_TRANSPORTS, openOldPage } from './page-peer.mjs';
import { connect } from './peer.mjs';

// How long a client waits for a silent server, in milliseconds. A script that never comes is no error for the old
// clients, and their default is one minute.
const PATIENCE = 6000;

/** Connects everybody to this server, as `{name, gone, back, speaks}`. */
export async function everybody(t, browser, url) {
  const old = OLD_RELEASES.map(async (release) => {
    const page = await openOldPage(t, browser, release);
    return Promise.all(OLD_TRANSPORTS.map(async (transport) => {
      const options = { 'max reconnection attempts': 100, 'reconnection limit': 500 };
      const peer = await connectOld(t, page, release, transport, { url, patience: PATIENCE, ...options });
      return {
        name: `${release.version} over ${transport}`,
        gone: () => peer.take('disconnect', 60_000),
        back: () => peer.take('connect', 60_000),
        speaks: async () => {
          if (release.family === '0.9') return assert.deepEqual(await peer.ask('echo-ack', 'again'), ['again']);
          await peer.send('again');
          return assert.deepEqual(await peer.take('message'), ['again']);
        },
      };
    }));
  });
  // Opening pages takes seconds. The clients of today have heartbeats of little more than one second and would be lost
  // meanwhile, so they connect afterwards.
  const inPages = (await Promise.all(old)).flat();
  const modern = clients.flatMap((client) => Object.entries(TRANSPORTS).map(async ([name, transports]) => {
    const peer = await connect(t, client, { url, transports, reconnection: true, reconnectionDelayMax: 500 });
    return {
      name: `${client.version} over ${name}`,
      gone: () => peer.take('(disconnect)', 20_000),
      back: () => peer.take('(connect)', 60_000),
      speaks: async () => assert.deepEqual(await peer.ask('echo-ack', 'again'), ['again']),
    };
  }));
  return [...inPages, ...(await Promise.all(modern))];
}

/** Asks each client with this function. If a client fails, the error has the client's name. */
export const all = (crowd, act) => Promise.all(crowd.map((one) => act(one).catch((error) => assert.fail(`${one.name}: ${error.message}`))));
