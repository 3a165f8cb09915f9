// A server with many genuine clients is replaced by the next process, or is killed and started again. Its store is a file.
// All clients come back soon, and nothing is lost.
//
// The short form has 50 clients. `cargo xtask interop --only crowd-restart --full` has 2,000.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { Crowd, LIMIT, PROCESSES, recoveryOf, SERVER } from './lib/crowd.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { connect } from './lib/peer.mjs';
import { isFull, sized } from './lib/scale.mjs';
import { sleep } from './lib/wait.mjs';

const CLIENTS = Number(process.env.SIO_CROWD) || sized(50, 2000);
/** The pause between two numbers, and the numbers that the next server sends. Times in milliseconds. */
const PAUSE = sized(50, 500);
const AFTERWARDS = 20;
/** How long numbers are heard before the change. */
const BEFORE = sized(700, 8000);
/** The longest time from the signal until all clients are connected again. */
const BACK = 10_000;
/** How long the test waits for clients that are later, so that it can say how late they are. */
const PATIENCE = 40_000;

async function restart(server, signal) {
  await server.end(signal);
  await server.begin();
}

/** How the server is changed, its options, and what changes it. */
const CHANGES = [
  ['a deploy with handover', ['--handover'], (server) => server.replace()],
  ['SIGTERM and a start', [], (server) => restart(server, 'SIGTERM')],
  ['kill -9 and a start', [], (server) => restart(server, 'SIGKILL')],
];

/** What is wrong with what a client has heard: all numbers of the last process up to `last`, and all of the next. */
function fault({ streams: [before, after, ...others], anew }, last) {
  const isWhole = (stream, count) => stream && stream.last === count && stream.missing + stream.repeated === 0;
  if (anew > 0) return 'not recovered';
  if (!isWhole(before, last)) return `${JSON.stringify(before)} of ${last} numbers before`;
  return isWhole(after, AFTERWARDS) && others.length === 0 ? undefined : `${JSON.stringify(after)} of ${AFTERWARDS} numbers after`;
}

// In the full form, each crowd has the machine for itself.
describe('a crowd whose server changes', { concurrency: !isFull }, () => {
  for (const [how, options, change] of CHANGES) {
    test(`${CLIENTS} clients are back soon after ${how}, and have lost nothing`, { timeout: LIMIT }, async (t) => {
      const store = mkdtempSync(join(tmpdir(), 'sio-crowd-'));
      t.after(() => rmSync(store, { recursive: true, force: true }));
      const server = await OwnServer.start(t, [...SERVER, '--store', store, ...options]);
      const to = server.port + 2;
      const crowd = await Crowd.start(t, { to, count: CLIENTS, processes: PROCESSES });
      await crowd.tell('begin', {}, LIMIT);
      const witness = () => connect(t, newest, { url: `http://127.0.0.1:${to}`, transports: TRANSPORTS.websocket, reconnection: true });
      (await witness()).emit('numbered', 100_000, PAUSE);
      await sleep(BEFORE);
      const began = Date.now();
      await change(server);
      const served = Date.now();
      const comebacks = await crowd.tell('back', { ms: PATIENCE }, PATIENCE + 20_000);
      const back = comebacks.reduce((sum, { back: some }) => sum + some, 0);
      const took = Math.max(...comebacks.map(({ last }) => last)) - began;
      (await witness()).emit('numbered', AFTERWARDS, PAUSE);
      await crowd.tell('ended', { count: AFTERWARDS, ms: AFTERWARDS * PAUSE + 30_000 });
      const { members } = await crowd.report();
      const last = Math.max(...members.map(({ streams }) => streams[0].last));
      const faults = members.map((member) => fault(member, last)).filter(Boolean);
      console.log(`${how}: ${back} of ${CLIENTS} clients are back ${took} ms after the signal, ${took - (served - began)} ms after the next server; ${last} numbers before, ${AFTERWARDS} after; ${faults.length} clients have lost something; the next server says ${JSON.stringify(await recoveryOf(server))}`);
      assert.deepEqual(faults.slice(0, 5), [], `${faults.length} clients`);
      assert.equal(back, CLIENTS);
      assert.ok(took <= BACK, `${took} ms`);
    });
  }
});
