// A server that shuts down sets the pace at which its clients come back to the next one.
//
// Genuine clients come back by delays of their own, so the server closes them one after the other. Our client is told how
// long to stay away.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { clients, TRANSPORTS } from './lib/clients.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { connect } from './lib/peer.mjs';
import { startProbe } from './lib/probe.mjs';
import { until } from './lib/wait.mjs';

/** The time over which clients are closed, and how many parts of it are looked at. Times in milliseconds. */
const JITTER = 3000;
const PARTS = 3;
/** How many clients there are of each release over websocket. There is one over each other transport. */
const EACH = 9;
/** A client that comes back at once: what remains is the pace of the server. */
const EAGER = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100, randomizationFactor: 0.5 };
/** How much later than its time something may happen on a busy machine. */
const SLACK = 3000;
const PAUSE = 2500;

describe('a server that shuts down', { concurrency: true }, () => {
  test('genuine clients come back at the pace of shutdown_jitter', { timeout: 120_000 }, async (t) => {
    const server = await OwnServer.start(t, ['--handover', '--shutdown-jitter', String(JITTER)]);
    const kinds = clients.flatMap((client) => Object.values(TRANSPORTS).flatMap((transports) => (
      Array.from({ length: transports === TRANSPORTS.websocket ? EACH : 1 }, () => ({ client, transports })))));
    const crowd = await Promise.all(kinds.map(async ({ client, transports }) => {
      const peer = await connect(t, client, { url: server.base, transports, ...EAGER });
      const seen = { name: `${client.version} over ${transports}`, peer, transports };
      peer.socket.on('disconnect', () => { seen.lost ??= Date.now(); });
      peer.socket.on('connect', () => { seen.back ??= seen.lost && Date.now(); });
      return seen;
    }));
    const asked = Date.now() + OwnServer.OVERLAP;
    await server.replace(JITTER + 20_000);
    await until(() => crowd.every(({ back }) => back), () => `${crowd.filter(({ back }) => !back).map(({ name }) => name)} to be back`, 20_000);
    // Clients that poll with a new connection for each request reach the next process at once (docs/deploy.md).
    const sockets = crowd.filter(({ transports }) => transports === TRANSPORTS.websocket);
    const lost = sockets.map((one) => one.lost - asked);
    const parts = Array.from({ length: PARTS }, () => 0);
    for (const ms of lost) parts[Math.min(PARTS - 1, Math.max(0, Math.floor((ms * PARTS) / JITTER)))] += 1;
    const away = crowd.map((one) => one.back - one.lost).sort((a, b) => a - b);
    t.diagnostic(`${sockets.length} clients over websocket were closed within ${Math.max(...lost)} ms, ${parts.join(', ')} in the parts of ${JITTER} ms; each of all ${crowd.length} was away for ${away[0]} to ${away.at(-1)} ms`);
    // Each client has a random moment: a part with less than a third of its share is no accident of the draw.
    for (const count of parts) assert.ok(count >= sockets.length / PARTS / 3, `${parts} of ${sockets.length} clients`);
    assert.ok(Math.max(...lost) <= JITTER + SLACK, `the last was closed after ${Math.max(...lost)} ms`);
    for (const { name, peer } of crowd) {
      assert.deepEqual(await peer.ask('echo-ack', 'again').catch((error) => assert.fail(`${name}: ${error.message}`)), ['again']);
    }
  });

  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`our client over ${name} stays away as long as it is told`, { timeout: 60_000 }, async (t) => {
      const server = await OwnServer.start(t, ['--shutdown-pause', String(PAUSE)]);
      const runtime = process.env.SIO_PROBE_RUNTIME ? ['--runtime', process.env.SIO_PROBE_RUNTIME] : [];
      const words = ['--url', server.base, '--transports', transports.join(), '--reconnect-delay', '20', '--reconnect-delay-max', '100'];
      const probe = startProbe(t, [...words, ...runtime]);
      await probe.see((seen) => seen.connect, 'connect');
      const times = {};
      probe.watch((seen) => {
        if ('disconnect' in seen) times.lost ??= Date.now();
        if ('connect' in seen) times.back ??= Date.now();
      });
      const asked = Date.now();
      assert.equal(await server.end('SIGTERM'), 0);
      await server.begin();
      await until(() => times.back, () => `the client to be back: ${JSON.stringify(probe.log)}`, PAUSE + 15_000);
      const away = times.back - times.lost;
      t.diagnostic(`our client over ${name} was told ${PAUSE} ms and was away for ${away} ms`);
      // The client counts from the moment when it is told. This process may hear of the end a little later.
      assert.ok(times.back - asked >= PAUSE, `${times.back - asked} ms after the signal`);
      assert.ok(away <= PAUSE + SLACK, `${away} ms`);
    });
  }
});
