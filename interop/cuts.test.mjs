// Genuine clients and ours behind a network that cuts connections at random bytes and random moments. What can be recovered comes
// exactly once and in order.
//
// The short form belongs to every run. `cargo xtask interop --only cuts --full` has 10,000 numbers and at least 200 cuts
// for each client. A failing run prints its seed, which `SIO_SEED` sets.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Answers } from './lib/answers.mjs';
import { sharedBrowser } from './lib/browser.mjs';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { Cutter, KINDS } from './lib/cutter.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { OLD_RELEASES, openOldPage, start as startOld } from './lib/page-peer.mjs';
import { connect } from './lib/peer.mjs';
import { startProbe } from './lib/probe.mjs';
import { Random, seed } from './lib/random.mjs';
import { sized } from './lib/scale.mjs';
import { Stream } from './lib/stream.mjs';
import { sleep, until } from './lib/wait.mjs';

/** The numbers of a stream, the pause between two, and the least cuts that a client must survive. Times in milliseconds. */
const COUNT = sized(1200, 10_000);
const PAUSE = sized(10, 20);
const CUTS = sized(8, 200);
/** The mean time between two cuts of one client. */
const PACE = 250;
/** The same for clients of 0.6, which need longer to come back. The server waits about `gone` milliseconds for them. */
const OLD = { pause: sized(10, 28), pace: 400, gone: 3900, cuts: sized(8, 200), kinds: { ...KINDS, far: 3, stall: 3 } };
/** The rounds of each case with clients that are cut at once. */
const ROUNDS = sized(2, 10);
const LIMIT = sized(120_000, 900_000);

/** A client of 4.8.4 that comes back quickly, in milliseconds. A connection that does not answer is given up. */
const QUICK = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 200, randomizationFactor: 0.5, timeout: 2000 };

const browser = sharedBrowser();
after(() => console.log(`cuts: SIO_SEED=${seed}`));

const tell = (counts) => Object.entries(counts).map(([kind, count]) => `${kind} ${count}`).join(', ');

/** A client behind a network of its own, and what it has heard of the stream. */
const listens = (name, cutter) => ({ name, cutter, stream: new Stream(), recovered: 0, anew: 0, isOver: false });

/** A genuine client of 4.8.4. */
async function listenGenuine(t, port, name, transports) {
  const cutter = await Cutter.start(t, { to: port, name: `4.8.4 ${name}`, pace: PACE });
  const { socket } = await connect(t, newest, { url: cutter.base, transports, ...QUICK });
  const listener = listens(`4.8.4 over ${name}`, cutter);
  socket.on('num', (number) => listener.stream.take(number));
  socket.on('num-end', () => { listener.isOver = true; });
  socket.on('connect', () => { listener[socket.recovered ? 'recovered' : 'anew'] += 1; });
  return listener;
}

/** Our client. */
async function listenOwn(t, port, name, transports) {
  const cutter = await Cutter.start(t, { to: port, name: `our client ${name}`, pace: PACE });
  const { reconnectionDelay, reconnectionDelayMax, timeout } = QUICK;
  const times = { '--reconnect-delay': reconnectionDelay, '--reconnect-delay-max': reconnectionDelayMax, '--connect-timeout': timeout };
  const words = ['--url', cutter.base, '--transports', transports.join(','), ...Object.entries(times).flat().map(String)];
  const runtime = process.env.SIO_PROBE_RUNTIME ? ['--runtime', process.env.SIO_PROBE_RUNTIME] : [];
  const probe = startProbe(t, [...words, ...runtime]);
  for (const event of ['num', 'num-end']) probe.say({ on: event });
  await probe.see((seen) => seen.connect, 'connect');
  const listener = listens(`our client over ${name}`, cutter);
  probe.watch(({ connect: id, recovered, event: [event, number] = [] }) => {
    if (event === 'num') listener.stream.take(number);
    if (event === 'num-end') listener.isOver = true;
    if (id) listener[recovered ? 'recovered' : 'anew'] += 1;
  });
  return listener;
}

test('4.8.4 and our client over each transport hear a numbered stream exactly once and in order', { timeout: LIMIT }, async (t) => {
  const server = await OwnServer.start(t);
  const port = server.port + 2;
  const listeners = await Promise.all(Object.entries(TRANSPORTS).flatMap(([name, transports]) => [
    listenGenuine(t, port, name, transports),
    listenOwn(t, port, name, transports),
  ]));
  const witness = await connect(t, newest, { url: `http://127.0.0.1:${port}`, transports: TRANSPORTS.websocket });
  witness.emit('numbered', COUNT, PAUSE);
  listeners.forEach(({ cutter }) => cutter.begin());
  await witness.take('num-end', LIMIT - 30_000);
  listeners.forEach(({ cutter }) => cutter.rest());
  const faults = await Promise.all(listeners.map(async (listener) => {
    await until(() => listener.isOver, () => 'the end', 25_000).catch(() => {});
    const { name, cutter, stream, recovered, anew } = listener;
    const fault = stream.fault(COUNT) ?? (anew > 0 ? `${anew} comebacks were not recovered` : undefined)
      ?? (cutter.cuts < CUTS ? `only ${cutter.cuts} cuts` : undefined);
    const words = `${name}: ${COUNT} numbers, ${cutter.cuts} cuts (${tell(cutter.counts)}), ${recovered} recovered, ${anew} not, ${stream.missing(COUNT)} missing, ${stream.repeated.length} repeated`;
    console.log(words);
    return fault && `${name}: ${fault}`;
  }));
  assert.deepEqual(faults.filter(Boolean), [], `SIO_SEED=${seed}`);
});

// Clients that are cut as soon as they are connected have seen no event, and so no offset. `near` leaves a connection
// half dead on the server, `far` leaves one half dead on the client.
describe('4.8.4 that has seen no event yet is recovered', { concurrency: true }, () => {
  let server;
  const endings = [];
  before(async () => {
    server = await OwnServer.start({ after: (end) => endings.push(end) });
  });
  after(() => endings.forEach((end) => end()));
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    for (const kind of ['reset', 'end', 'near', 'far', 'stall']) {
      test(`over ${name}, after ${kind}`, { timeout: LIMIT }, async (t) => {
        const port = server.port + 2;
        const random = new Random(`${name} ${kind}`);
        const direct = await connect(t, newest, { url: `http://127.0.0.1:${port}`, transports: TRANSPORTS.websocket, reconnection: true });
        for (let round = 0; round < ROUNDS; round += 1) {
          const cutter = await Cutter.start(t, { to: port, name });
          const peer = await connect(t, newest, { url: cutter.base, transports, ...QUICK });
          const { id } = peer;
          await sleep(random.below(30));
          cutter.cutAll(kind);
          const word = `${name} ${kind} ${round}`;
          await direct.settle();
          direct.emit('castall', word);
          // Between two polls there may have been no connection to cut.
          await until(() => {
            cutter.cutAll(kind);
            return peer.count('(disconnect)') > 0;
          }, 'the client to notice', 10_000);
          await peer.take('(connect)', 20_000).catch((error) => assert.fail(`round ${round}: ${error.message}, SIO_SEED=${seed}`));
          assert.deepEqual([peer.socket.recovered, peer.id], [true, id], `round ${round}, SIO_SEED=${seed}`);
          await peer.settle();
          const heard = peer.log.filter(([event, text]) => event === 'castall' && text === word);
          assert.equal(heard.length, 1, `round ${round}, SIO_SEED=${seed}`);
          await peer.close();
          cutter.end();
        }
      });
    }
  }
});

/** A client of 0.6 that sends numbers to all others, directly. */
async function startNumbers(t, port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/websocket`);
  t.after(() => socket.terminate());
  const frame = (text) => `~m~${text.length}~m~${text}`;
  let isOpen = false;
  socket.on('message', (data) => {
    const text = String(data);
    isOpen = true;
    const beat = /^~m~\d+~m~(~h~\d+)$/.exec(text);
    if (beat) socket.send(frame(beat[1]));
  });
  await until(() => isOpen, 'the session of the speaker');
  return async (first, last) => {
    for (let number = first; number <= last; number += 1) {
      socket.send(frame(`cast:${number}`));
      await sleep(OLD.pause);
    }
  };
}

// A client of 0.6 learns nothing of what it has missed, and tells nothing of what it has. So bytes that were on the way
// when the cut came are lost, and neither end can see it (docs/protocol/legacy-0.6.md §18). Nothing else is lost:
// what the server had not written yet, and what was said while the client was away, comes. Besides, the page may give up a
// poll whose answer its browser has read: the network has lost nothing then, and the server cannot know it.
describe('0.6.18 that comes back to its session', { concurrency: true }, () => {
  for (const transport of ['websocket', 'xhr-polling']) {
    test(`over ${transport} hears a numbered stream in order, without what was on the way at a cut`, { timeout: LIMIT }, async (t) => {
      const [release] = OLD_RELEASES.filter(({ family }) => family === '0.6');
      const server = await OwnServer.start(t);
      const answers = new Answers(/cast:(\d+)/g);
      const tap = (...passing) => answers.take(...passing);
      const cutter = await Cutter.start(t, { to: server.port, name: `0.6.18 ${transport}`, pace: OLD.pace, kinds: OLD.kinds, tap });
      const page = await openOldPage(t, browser, release, { origin: cutter.base });
      const peer = await startOld(t, page, release, transport, { url: cutter.base, resumes: true });
      await peer.take('connect', 30_000);
      const say = await startNumbers(t, server.port);
      cutter.begin();
      await say(1, COUNT);
      cutter.rest();
      // These numbers are not cut any more. They show that the client is there, after a silent cut too.
      const total = COUNT + Math.ceil(8000 / OLD.pause);
      await say(COUNT + 1, total);
      await sleep(2000);
      const log = await peer.log();
      const stream = new Stream();
      for (const [event, text] of log) {
        if (event === 'message') stream.take(Number(text.slice('cast:'.length)));
      }
      const late = log.filter(([event]) => event === '(refused)').map(([, absence]) => absence);
      const counted = (name) => log.filter(([event]) => event === name).length;
      const missing = stream.missing(total);
      const givenUp = [...answers.read].filter((number) => stream.skips(number)).length;
      // What was in an answer on a half-dead connection is counted when the server learns that the connection is dead.
      cutter.reveal();
      let unconfirmed = 0;
      await until(async () => {
        ({ unconfirmed } = await (await fetch(`${server.base}/__stats`, { signal: AbortSignal.timeout(5000) })).json());
        return missing - givenUp <= unconfirmed;
      }, 'the count of the server', 10_000).catch(() => {});
      const longest = Math.max(0, ...stream.gaps.map(([first, last]) => last - first + 1));
      console.log(`0.6.18 over ${transport}: ${COUNT} numbers, ${cutter.cuts} cuts (${tell(cutter.counts)}), ${counted('connect') - 1} comebacks, ${late.length} too late, ${missing - givenUp} on the way (the server has counted ${unconfirmed}) and ${givenUp} given up by the page, in ${stream.gaps.length} gaps (at most ${longest} at once), ${stream.repeated.length} repeated`);
      assert.equal(stream.last, total, `the client is not there in the end: ${JSON.stringify(log.slice(-8))}, SIO_SEED=${seed}`);
      assert.deepEqual(stream.repeated, [], `SIO_SEED=${seed}`);
      assert.deepEqual(late.filter((absence) => absence < OLD.gone), [], `sessions were lost, SIO_SEED=${seed}`);
      assert.ok(stream.gaps.length <= cutter.cuts, `${stream.gaps.length} gaps and ${cutter.cuts} cuts, SIO_SEED=${seed}`);
      // What waits for a client that comes too late is gone with its session.
      if (late.length === 0) {
        assert.ok(missing - givenUp <= unconfirmed, `${missing} missing, ${givenUp} of them given up by the page, and ${unconfirmed} counted, SIO_SEED=${seed}`);
      }
      assert.ok(cutter.cuts >= OLD.cuts, `only ${cutter.cuts} cuts`);
    });
  }
});
