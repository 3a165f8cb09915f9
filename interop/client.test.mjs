// Our client against genuine servers from the npm registry, over every transport that they have.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { freePort, startProbe, startServer } from './lib/probe.mjs';
import { sleep } from './lib/wait.mjs';

const SERVERS = [
  { name: 'sio-4.8.1', generation: '4' },
  { name: 'sio-4.8.1', generation: '4', mode: 'msgpack' },
  { name: 'sio-2.5.1', generation: '2' },
];
const TRANSPORTS = ['polling', 'websocket', 'polling,websocket'];
const range = (count) => Array.from({ length: count }, (_, number) => number);

function words({ generation, mode }, transports, port) {
  const parser = mode === 'msgpack' ? ['--parser', 'msgpack'] : [];
  const delays = ['--reconnect-delay', '200', '--reconnect-delay-max', '400'];
  return ['--url', `http://127.0.0.1:${port}`, '--generation', generation, '--transports', transports, ...parser, ...delays];
}

for (const server of SERVERS) {
  for (const transports of TRANSPORTS) {
    describe(`${server.name} ${server.mode ?? ''} over ${transports}`, () => {
      test('events, bytes and acknowledgements both ways', async (t) => {
        const port = await freePort();
        await startServer(t, server.name, port, server.mode);
        const probe = startProbe(t, words(server, transports, port));
        for (const name of ['echo', 'question', 'answer']) probe.say({ on: name });
        await probe.see((seen) => seen.connect, 'connect');
        for (const number of range(100)) probe.say({ emit: ['echo', number, null, [], ''] });
        const bytes = [{ $b: '00ff10' }, { deep: [{ $b: '' }, 'thré♥e😀'] }];
        probe.say({ emit: ['echo', ...bytes] });
        probe.say({ emit: ['echo-ack', 1, { $b: 'aa' }], ack: true });
        probe.say({ emit: ['ask-me', { x: 1 }] });
        probe.say({ emit: ['no-ack', 1], ack: true, timeout: 300 });
        await probe.see((seen) => seen.event?.[0] === 'answer', 'answer');
        await probe.see((seen) => seen.ack_timeout && seen.of === 103, 'the end of the time');
        assert.deepEqual(probe.events('echo'), [...range(100).map((number) => [number, null, [], '']), bytes]);
        assert.deepEqual(probe.events('answer'), [[{ x: 1 }]]);
        assert.deepEqual(probe.log.filter((seen) => seen.ack), [{ ack: [1, { $b: 'aa' }], of: 101 }]);
        if (transports === 'polling,websocket') await probe.see((seen) => seen.upgrade === 'websocket', 'upgrade');
        await sleep(3500); // more than a heartbeat and its answer
        assert.equal(probe.count('disconnect'), 0, 'heartbeats are answered');
        probe.say({ emit: ['bye'] });
        await probe.see((seen) => seen.disconnect === 'io server disconnect', 'the server disconnects');
        probe.say({ open: 1 });
        await probe.see((seen) => seen.connect && probe.count('connect') === 2, 'connect again');
        assert.equal(await probe.end(), 0);
      });

      test('the client comes back after a lost transport and a killed server', async (t) => {
        const port = await freePort();
        const kill = await startServer(t, server.name, port, server.mode);
        const probe = startProbe(t, words(server, transports, port));
        probe.say({ on: 'echo' });
        await probe.see((seen) => seen.connect, 'connect');
        probe.say({ close: 'engine' });
        await probe.see((seen) => seen.disconnect, 'disconnect');
        for (const number of range(20)) probe.say({ emit: ['echo', number] });
        await probe.see(() => probe.events('echo').length === 20, 'what was sent meanwhile');
        kill();
        await probe.see(() => probe.count('disconnect') === 2, 'the server is gone');
        for (const number of range(20)) probe.say({ emit: ['echo', 20 + number] });
        await probe.see((seen) => seen.connect_error, 'an attempt fails');
        await startServer(t, server.name, port, server.mode);
        await probe.see(() => probe.events('echo').length === 40, 'what was sent meanwhile');
        assert.deepEqual(probe.events('echo'), range(40).map((number) => [number]));
        assert.equal(await probe.end(), 0);
      });

      test('a namespace that refuses', async (t) => {
        const port = await freePort();
        await startServer(t, server.name, port, server.mode);
        const stranger = startProbe(t, [...words(server, transports, port), '--ns', '/admin', '--token', 'wrong']);
        const { connect_error: refused } = await stranger.see((seen) => seen.connect_error, 'refusal');
        assert.deepEqual(refused.data, { need: 'secret' });
        if (server.generation === '4') assert.equal(refused.message, 'forbidden');
        const friend = startProbe(t, [...words(server, transports, port), '--ns', '/admin', '--token', 'secret']);
        await friend.see((seen) => seen.connect, 'connect');
        assert.equal(stranger.count('connect'), 0);
        assert.deepEqual([await stranger.end(), await friend.end()], [0, 0]);
      });
    });
  }
}

for (const transports of TRANSPORTS.slice(0, 2)) {
  test(`a client of sio-4.8.1 is recovered over ${transports}`, async (t) => {
    const port = await freePort();
    await startServer(t, 'sio-4.8.1', port, 'recovery');
    const probe = startProbe(t, words({ generation: '4' }, transports, port));
    probe.say({ on: 'later' });
    await probe.see((seen) => seen.connect, 'connect');
    probe.say({ emit: ['later', 0, 'first'] });
    await probe.see(() => probe.events('later').length === 1, 'an event with an offset');
    probe.say({ emit: ['later', 150, 'missed'] });
    await sleep(50);
    probe.say({ close: 'engine' });
    await probe.see((seen) => seen.recovered === true, 'recovery');
    await probe.see(() => probe.events('later').length === 2, 'the missed event');
    await sleep(300);
    assert.deepEqual(probe.events('later').map(([x]) => x), ['first', 'missed']);
    assert.equal(await probe.end(), 0);
  });
}
