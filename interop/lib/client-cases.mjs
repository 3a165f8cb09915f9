// The cases of our client, each for every server and each of its transports.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Cutter } from './cutter.mjs';
import { startProbe } from './probe.mjs';
import { startServer } from './servers.mjs';
import { sleep } from './wait.mjs';

const TRANSPORTS = ['polling', 'websocket', 'polling,websocket'];
/** How many cases run at the same time. Most of their time is waiting. */
const AT_ONCE = 8;
/** The time of an acknowledgement that has to come, in milliseconds. */
const PATIENCE = 15_000;
/** The size of a message that does not pass in one read, and the bytes of it that pass before a cut. */
const LARGE = 200_000;
const PART = 50_000;

const range = (count, first = 0) => Array.from({ length: count }, (_, number) => first + number);

/** One server, one choice of transports, and the test that uses them. */
class Place {
  constructor(t, row, transports, shared) {
    Object.assign(this, { t, row, transports, shared });
  }

  has(what) {
    return this.row.has.includes(what);
  }

  /** A server for this test alone. */
  ownServer() {
    return startServer(this.row, (end) => this.t.after(end));
  }

  /** Starts our client. */
  probe(port, ...more) {
    const { generation, mode } = this.row;
    const parser = mode === 'msgpack' ? ['--parser', 'msgpack'] : [];
    const delays = ['--reconnect-delay', '200', '--reconnect-delay-max', '400'];
    const words = ['--url', `http://127.0.0.1:${port}`, '--generation', generation, '--transports', this.transports];
    const runtime = process.env.SIO_PROBE_RUNTIME ? ['--runtime', process.env.SIO_PROBE_RUNTIME] : [];
    return startProbe(this.t, [...words, ...parser, ...delays, ...runtime, ...more]);
  }

  /** Whether the client moves from polling to websocket. */
  get upgrades() {
    return this.transports === 'polling,websocket' && this.has('upgrade');
  }

  /** Waits until a client is connected and has moved to its last transport. */
  async settled(probe) {
    await probe.see((seen) => seen.connect, 'connect');
    if (this.upgrades) await probe.see((seen) => seen.upgrade === 'websocket', 'upgrade');
  }
}

/** What a server says to a token that it refuses, and to a namespace that it does not have. */
function assertRefused(place, { message, data }) {
  if (place.has('refresh')) assert.deepEqual(data, { need: 'secret' });
  if (place.has('auth')) assert.equal(message, 'forbidden');
}

async function events(place) {
  const { port } = await place.shared();
  const probe = place.probe(port);
  for (const name of ['echo', 'question', 'answer']) probe.say({ on: name });
  await probe.see((seen) => seen.connect, 'connect');
  for (const number of range(100)) probe.emit(['echo', number, null, [], '']);
  const values = place.has('binary') ? [{ $b: '00ff10' }, { deep: [{ $b: '' }, 'thré♥e😀'] }] : [{ deep: ['thré♥e😀'] }];
  probe.emit(['echo', ...values]);
  const asked = probe.emit(['echo-ack', 1, ...values], { ack: true });
  probe.emit(['ask-me', { x: values }]);
  const unanswered = probe.emit(['no-ack', 1], { ack: true, timeout: 300 });
  await probe.see((seen) => seen.event?.[0] === 'answer', 'answer');
  await probe.see((seen) => seen.ack_timeout && seen.of === unanswered, 'the end of the time');
  assert.deepEqual(probe.events('echo'), [...range(100).map((number) => [number, null, [], '']), values]);
  assert.deepEqual(probe.events('question'), [[{ x: values }]]);
  assert.deepEqual(probe.events('answer'), [[{ x: values }]]);
  assert.deepEqual(probe.log.filter((seen) => seen.ack), [{ ack: [1, ...values], of: asked }]);
  await place.settled(probe);
  const whoami = probe.emit(['whoami'], { ack: true, timeout: PATIENCE });
  await probe.see((seen) => seen.of === whoami, 'whoami');
  // Before upgrades, websocket is tried first.
  const transport = place.transports === 'polling' ? 'polling' : 'websocket';
  assert.equal(probe.ends(whoami)[0].ack?.[0].transport, transport);
  await sleep(3500); // more than a heartbeat and its answer
  assert.equal(probe.count('disconnect'), 0, 'heartbeats are answered');
  probe.emit(['bye']);
  await probe.see((seen) => seen.disconnect, 'the server disconnects');
  if (!place.has('messages')) assert.ok(probe.log.some((seen) => seen.disconnect === 'io server disconnect'));
  probe.say({ open: 1 });
  await probe.see(() => probe.count('connect') === 2, 'connect again');
  assert.equal(await probe.end(), 0);
}

async function killedServer(place) {
  const server = await place.ownServer();
  const probe = place.probe(server.port);
  probe.say({ on: 'echo' });
  await probe.see((seen) => seen.connect, 'connect');
  probe.say({ close: 'engine' });
  await probe.see((seen) => seen.disconnect, 'disconnect');
  for (const number of range(20)) probe.emit(['echo', number]);
  await probe.see(() => probe.events('echo').length === 20, 'what was sent meanwhile');
  const waiting = probe.emit(['no-ack', 1], { ack: true, timeout: PATIENCE });
  const behind = probe.emit(['echo-ack', 1], { ack: true, timeout: PATIENCE });
  await probe.see((seen) => seen.of === behind, 'both were written');
  await server.kill();
  await probe.see(() => probe.count('disconnect') === 2, 'the server is gone');
  for (const number of range(20, 20)) probe.emit(['echo', number]);
  const asked = range(5).map((number) => probe.emit(['echo-ack', number], { ack: true, timeout: PATIENCE }));
  await probe.see((seen) => seen.connect_error, 'an attempt fails');
  await server.begin();
  await probe.see(() => probe.events('echo').length === 40, 'what was sent meanwhile');
  assert.deepEqual(probe.events('echo'), range(40).map((number) => [number]));
  await probe.see(() => asked.every((number) => probe.ends(number).length > 0), 'the answers');
  for (const [index, number] of asked.entries()) assert.deepEqual(probe.ends(number), [{ ack: [index], of: number }]);
  assert.deepEqual(probe.ends(waiting), [{ ack_timeout: true, of: waiting }], 'it ended with its connection');
  assert.equal(await probe.end(), 0);
}

async function namespaces(place) {
  const { port } = await place.shared();
  const probe = place.probe(port);
  const [tenant, admin, nowhere] = ['/tenant-1', '/admin', '/nowhere'];
  probe.say({ on: 'echo' });
  for (const ns of [tenant, admin]) probe.say({ ns, on: 'echo' });
  await probe.see((seen) => seen.connect, 'connect');
  probe.say({ ns: tenant, open: 1 });
  probe.say({ ns: admin, token: 'wrong' });
  probe.say({ ns: admin, open: 1 });
  await probe.see((seen) => seen.connect && seen.ns === tenant, 'the tenant');
  const refused = await probe.see((seen) => seen.connect_error && seen.ns === admin, 'the refusal');
  assertRefused(place, refused.connect_error);
  // Servers of 0.9 say nothing to a namespace that they do not have.
  if (place.has('refresh')) {
    probe.say({ ns: nowhere, open: 1 });
    await probe.see((seen) => seen.connect_error && seen.ns === nowhere, 'no such namespace');
  }
  for (const number of range(10)) {
    probe.emit(['echo', number]);
    probe.emit(['echo', number, 'tenant'], { ns: tenant });
  }
  const asked = [probe.emit(['echo-ack', 'root'], { ack: true, timeout: PATIENCE }), probe.emit(['echo-ack', 'tenant'], { ns: tenant, ack: true, timeout: PATIENCE })];
  await probe.see(() => asked.every((number) => probe.ends(number).length > 0), 'both answers');
  assert.deepEqual(asked.map((number) => probe.ends(number)[0].ack), [['root'], ['tenant']]);
  // A server in Python runs its handlers at the same time, so an answer may overtake an event.
  await probe.see(() => [undefined, tenant].every((ns) => probe.events('echo', ns).length >= 10), 'all events');
  assert.deepEqual(probe.events('echo'), range(10).map((number) => [number]));
  assert.deepEqual(probe.events('echo', tenant), range(10).map((number) => [number, 'tenant']));
  probe.say({ ns: tenant, close: 'socket' });
  await probe.see((seen) => seen.disconnect === 'io client disconnect' && seen.ns === tenant, 'goodbye');
  if (!place.has('refresh')) {
    probe.say({ close: 'engine' });
    await probe.see(() => probe.count('connect') === 2, 'comes back');
    assert.deepEqual([probe.count('connect', tenant), probe.count('connect', admin), probe.count('connect_error', admin)], [1, 0, 1]);
    assert.equal(await probe.end(), 0);
    return;
  }
  probe.say({ ns: admin, token: 'secret' });
  probe.say({ ns: admin, open: 1 });
  await probe.see((seen) => seen.connect && seen.ns === admin, 'the second attempt of the refused namespace');
  probe.say({ close: 'engine' });
  await probe.see(() => probe.count('connect') === 2 && probe.count('connect', admin) === 2, 'both come back');
  probe.emit(['echo', 'back'], { ns: admin });
  await probe.see(() => probe.events('echo', admin).length === 1, 'an echo in the namespace that was refused');
  const counts = [probe.count('connect', tenant), probe.count('connect', nowhere), probe.count('connect_error', admin), probe.count('connect_error', nowhere)];
  assert.deepEqual(counts, [1, 0, 1, 1], 'who has left stays away, and each refusal is told once');
  assert.equal(await probe.end(), 0);
}

async function refusal(place) {
  const { port } = await place.shared();
  const stranger = place.probe(port, '--ns', '/admin');
  const { connect_error: refused } = await stranger.see((seen) => seen.connect_error, 'refusal');
  assertRefused(place, refused);
  assert.equal(stranger.count('connect'), 0);
  if (!place.has('refresh')) {
    // The token is a part of the handshake.
    const known = place.probe(port, '--ns', '/admin', '--token', 'secret');
    await known.see((seen) => seen.connect, 'connect with the token');
    assert.deepEqual([await stranger.end(), await known.end()], [0, 0]);
    return;
  }
  stranger.say({ token: 'secret' });
  stranger.say({ open: 1 });
  await stranger.see((seen) => seen.connect, 'connect with another token');
  // The provider is asked once more after a refusal, and again for each connection.
  const friend = place.probe(port, '--ns', '/admin', '--token', 'wrong', '--fresh-token', 'secret');
  await friend.see((seen) => seen.connect, 'connect with a fresh token');
  friend.say({ close: 'engine' });
  await friend.see(() => friend.count('connect') === 2, 'connect again');
  const whoami = friend.emit(['whoami'], { ack: true, timeout: PATIENCE });
  await friend.see((seen) => seen.of === whoami, 'whoami');
  assert.equal(friend.ends(whoami)[0].ack?.[0].token, 'secret');
  assert.deepEqual([await stranger.end(), await friend.end()], [0, 0]);
}

async function recovery(place) {
  const { port } = await place.shared();
  const probe = place.probe(port);
  probe.say({ on: 'later' });
  await place.settled(probe);
  const { connect: id } = probe.log.find((seen) => seen.connect);
  probe.emit(['later', 0, 'first']);
  await probe.see(() => probe.events('later').length === 1, 'an event with an offset');
  for (const round of range(3)) {
    const missed = range(5).map((number) => `${round} ${number}`);
    missed.forEach((text, index) => probe.emit(['later', 50 + 20 * index, text]));
    const asked = probe.emit(['echo-ack', round], { ack: true, timeout: PATIENCE });
    await probe.see((seen) => seen.of === asked, 'all has arrived');
    probe.say({ close: 'engine' });
    await probe.see(() => probe.count('connect') === round + 2, 'the comeback');
    await probe.see(() => probe.events('later').length >= 6 + 5 * round, 'the missed events');
    await sleep(200);
    // Timers that are due at the same time fire in any order. Suite `cuts` is about order.
    assert.deepEqual(probe.events('later').slice(1 + 5 * round).map(([text]) => text).sort(), missed);
  }
  assert.equal(probe.events('later').length, 16, 'nothing twice');
  const connects = probe.log.filter((seen) => seen.connect);
  assert.deepEqual(connects.map((seen) => [seen.connect, seen.recovered]), [[id, false], ...range(3).map(() => [id, true])]);
  assert.equal(await probe.end(), 0);
}

async function messages(place) {
  const { port } = await place.shared();
  const probe = place.probe(port);
  await probe.see((seen) => seen.connect, 'connect');
  const sent = ['hello', 'thré♥e😀', '~m~3~m~abc', 'line\nfeed', { a: [1, null, 'é😀'] }, ...range(20).map(String)];
  for (const message of sent) probe.say({ send: message });
  await probe.see(() => probe.events('message').length === sent.length, 'all messages');
  probe.say({ close: 'engine' });
  await probe.see((seen) => seen.disconnect, 'disconnect');
  const later = range(20, 20).map(String);
  for (const message of later) probe.say({ send: message });
  await probe.see(() => probe.events('message').length >= sent.length + later.length, 'what was sent meanwhile');
  assert.deepEqual(probe.events('message'), [...sent, ...later].map((message) => [message]));
  await sleep(4500); // more than a heartbeat and its answer
  assert.deepEqual([probe.count('connect'), probe.count('disconnect')], [2, 1], 'heartbeats are answered');
  assert.equal(await probe.end(), 0);
}

/** A case in which something happens to the network. `strike` makes the client lose its connection, and returns the emits that are lost with it. */
function fault(strike) {
  return async (place) => {
    const { port } = await place.shared();
    const cutter = await Cutter.start(place.t, { to: port, name: 'faults' });
    const probe = place.probe(cutter.port);
    probe.say({ on: 'echo' });
    await place.settled(probe);
    const ask = (number) => probe.emit(['echo-ack', number], { ack: true, timeout: PATIENCE });
    const before = range(3).map(ask);
    await probe.see(() => before.every((number) => probe.ends(number).length > 0), 'answers before the fault');
    const lost = await strike({ place, probe, cutter }) ?? [];
    await probe.see((seen) => seen.disconnect, 'the client notices');
    const noticed = performance.now();
    const after = range(20).map((number) => {
      probe.emit(['echo', number]);
      return ask(number);
    });
    await probe.see(() => probe.count('connect') === 2, 'the comeback');
    const absence = performance.now() - noticed;
    await probe.see(() => [...after, ...lost].every((number) => probe.ends(number).length > 0), 'each acknowledgement ends');
    await probe.see(() => probe.events('echo').length >= 20, 'what was sent meanwhile');
    const last = ask('last');
    await probe.see((seen) => seen.of === last, 'a last round trip');
    assert.deepEqual(probe.events('echo'), range(20).map((number) => [number]), 'what waited has left in order');
    for (const [index, number] of after.entries()) assert.deepEqual(probe.ends(number), [{ ack: [index], of: number }]);
    for (const number of lost) assert.deepEqual(probe.ends(number), [{ ack_timeout: true, of: number }]);
    for (const number of before) assert.equal(probe.ends(number).length, 1);
    assert.deepEqual([probe.count('connect'), probe.count('disconnect')], [2, 1]);
    assert.equal(await probe.end(), 0);
    return { absence, probe };
  };
}

const cutDown = fault(({ probe, cutter }) => {
  cutter.cutAfter(PART, 'down');
  return [probe.emit(['big', LARGE], { ack: true, timeout: PATIENCE })];
});

const cutUp = fault(({ probe, cutter }) => {
  cutter.cutAfter(PART, 'up', 'end');
  return [probe.emit(['echo-ack', 'x'.repeat(LARGE)], { ack: true, timeout: PATIENCE })];
});

async function stall(place) {
  let asked;
  const stalled = fault(({ probe, cutter }) => {
    cutter.cutAll('stall');
    asked = probe.emit(['echo-ack', 1], { ack: true, timeout: PATIENCE });
  });
  const { probe } = await stalled(place);
  // If the answer to a POST has stalled, the emit was not written, and leaves with the next connection.
  assert.equal(probe.ends(asked).length, 1, 'it ends once');
  assert.equal(probe.log.find((seen) => seen.disconnect).disconnect, 'ping timeout');
}

/** The poll is answered 503, and the next attempt too. A websocket has no poll: it is cut, and two attempts are answered so. */
const refused = (...lines) => fault(({ place, cutter }) => {
  cutter.refuse(2, '503 Service Unavailable', ...lines);
  if (place.transports !== 'polling') cutter.cutAll('reset');
});

async function unavailable(place) {
  const { probe } = await refused()(place);
  assert.ok(probe.count('connect_error') >= 1, 'a failed attempt is told');
}

async function retryAfter(place) {
  const { absence } = await refused('Retry-After: 1')(place);
  assert.ok(absence > 1900, `the client was away for ${absence} ms, and was told twice to stay away for a second`);
}

/** The cases. One with `needs` is only for servers that have this. */
const CASES = [
  { name: 'events, bytes and acknowledgements both ways', run: events },
  { name: 'comes back after a lost transport and a killed server', run: killedServer },
  { name: 'many namespaces on one connection', run: namespaces },
  { name: 'a refusal, and a fresh token', run: refusal },
  { name: 'recovery', needs: 'recovery', run: recovery },
  { name: 'messages', needs: 'messages', run: messages },
  { name: 'a cut in the middle of a message of the server', run: cutDown },
  { name: 'a cut in the middle of a message of the client', run: cutUp },
  { name: 'a connection that stalls', run: stall },
  { name: '503 at the poll', run: unavailable },
  { name: '503 with Retry-After at the poll', run: retryAfter },
];

/** Tests our client with all these servers. */
export function testClient(rows) {
  describe('our client', { concurrency: AT_ONCE }, () => {
    const endings = [];
    after(() => Promise.all(endings.map((end) => end())));
    for (const row of rows) {
      let server;
      const shared = () => (server ??= startServer(row, (end) => endings.push(end)));
      const fits = (needs) => (row.only ? needs === row.only : !needs || row.has.includes(needs));
      for (const transports of TRANSPORTS) {
        for (const { name, needs, run } of CASES) {
          if (!fits(needs)) continue;
          test(`${row.name} over ${transports}: ${name}`, (t) => run(new Place(t, row, transports, shared)));
        }
      }
    }
  });
}
