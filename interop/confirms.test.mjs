// A server with a store is killed while our client sends confirmed events, and is started again. Each event is handled, in
// order, and none that was confirmed is handled again. Those that were handled and not confirmed may be handled once more,
// as docs/guarantees.md (G20) says: at most 32 of a client for each kill.
//
// The short form has 2 kills for each transport. `cargo xtask interop --only confirms --full` has 20.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { TRANSPORTS } from './lib/clients.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { startProbe } from './lib/probe.mjs';
import { sized } from './lib/scale.mjs';
import { sleep, until } from './lib/wait.mjs';

const KILLS = sized(2, 20);
/** How many events go between two kills, and the pause between two of them, in milliseconds. */
const EVENTS = 100;
const PAUSE = 4;
/** How many events of a client may be handled twice because of one kill. */
const MAY_REPEAT = 32;
const LIMIT = sized(60_000, 300_000);

describe('a server that is killed while our client sends confirmed events', { concurrency: true }, () => {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`over ${name}, each event is handled, and none that was confirmed is handled twice`, { timeout: LIMIT }, async (t) => {
      const store = mkdtempSync(join(tmpdir(), 'sio-confirms-'));
      t.after(() => rmSync(store, { recursive: true, force: true }));
      const server = await OwnServer.start(t, ['--store', store]);
      const url = `http://127.0.0.1:${server.port + 2}`;
      const times = ['--reconnect-delay', '20', '--reconnect-delay-max', '100', '--connect-timeout', '2000'];
      const runtime = process.env.SIO_PROBE_RUNTIME ? ['--runtime', process.env.SIO_PROBE_RUNTIME] : [];
      const probe = startProbe(t, ['--url', url, '--transports', transports.join(','), '--confirm-events', 'on', ...times, ...runtime]);
      // What a handler has sent tells that it has run, and the client hears it once.
      probe.say({ on: 'castall' });
      await probe.see((seen) => seen.connect, 'connect');
      const heard = () => probe.events('castall').map(([number]) => number);
      const confirmed = () => probe.log.filter((seen) => seen.receipt === 'Confirmed').map((seen) => seen.of);
      const sent = [];
      const stream = async (count) => {
        for (let index = 0; index < count; index += 1) {
          sent.push(probe.emit(['castall', sent.length]));
          await sleep(PAUSE);
        }
      };
      /** For each kill: how many events the client had been told, and how many numbers it had heard. */
      const marks = [];
      for (let kill = 0; kill < KILLS; kill += 1) {
        const sending = stream(EVENTS);
        // The moment differs from kill to kill.
        await sleep(PAUSE * (20 + ((kill * 37) % (EVENTS - 40))));
        await server.end('SIGKILL');
        marks.push({ confirmed: confirmed().length, heard: heard().length });
        await Promise.all([sending, server.begin()]);
        await until(() => probe.count('connect') === kill + 2, () => `the client to be back: ${JSON.stringify(probe.log.slice(-10))}`, 20_000);
      }
      await until(() => confirmed().length === sent.length, () => `${sent.length} receipts, and there are ${confirmed().length}`, 20_000);
      const connects = probe.log.filter((seen) => seen.connect);
      assert.ok(connects.slice(1).every(({ recovered }) => recovered), 'each comeback is recovered');
      const numbers = heard();
      const repeated = numbers.filter((number, index) => numbers.indexOf(number) < index);
      console.log(`${name}: ${sent.length} events, ${KILLS} kills, ${repeated.length} handled twice`);
      assert.deepEqual([...new Set(numbers)], sent, 'each is handled, in order');
      // A run of repetitions begins behind what was confirmed, and ends where the last process has ended.
      assert.ok(repeated.length <= KILLS * MAY_REPEAT, `${repeated.length} events were handled twice`);
      for (const mark of marks) {
        const again = numbers.slice(mark.heard).filter((number) => number < mark.confirmed);
        assert.deepEqual(again, [], 'nothing that was confirmed is handled again');
      }
      assert.deepEqual(confirmed(), sent, 'each has one receipt, in order');
    });
  }
});
