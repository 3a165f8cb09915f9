// The MessagePack parser, on its own port: genuine clients of two releases with the genuine parser, and bytes that no genuine client sends.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { legible } from './lib/bytes.mjs';
import { clients, newest, TRANSPORTS } from './lib/clients.mjs';
import { connect, refusal, start } from './lib/peer.mjs';
import { RawSocket } from './lib/rawsocket.mjs';
import { msgpackBase, port } from './lib/target.mjs';

const parser = createRequire(import.meta.url)('socket.io-msgpack-parser');
/** The releases whose parsers have the interface of this parser. Parsers of 2.x give their packets to a callback; this parser does not. */
const releases = clients.filter(({ version }) => ['4.8.4', '3.1.3'].includes(version));

// There are no integers beyond 64 bits here, because the genuine encoder cuts off their upper bits.
const VALUES = [
  [],
  [null, true, false, '', [], {}],
  [0, 1, -1, 127, 128, -32, -33, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32, -(2 ** 31), Number.MAX_SAFE_INTEGER],
  [0.5, -1.5, 1e-7, -123456.789, Number.MIN_SAFE_INTEGER, Number.MIN_VALUE],
  ['x'.repeat(31), 'x'.repeat(32), 'x'.repeat(255), 'x'.repeat(256), 'x'.repeat(65_536)],
  ['thré♥e😀', { 'ключ': ['\u0000', '\u001e'] }],
  [Array.from({ length: 16 }, (_, index) => index), Array.from({ length: 70_000 }, () => 0)],
  [Buffer.from([1, 2]), { raw: [Buffer.alloc(0), Buffer.alloc(300, 7)] }, Buffer.alloc(70_000, 9)],
  Array.from({ length: 20 }, (_, index) => Buffer.from([index])),
  [{ _placeholder: true, num: 0 }, { __proto__: null, constructor: 1 }],
];

/** Values that JSON does not have. They come back unchanged. The genuine encoder writes -0 as 0. */
const BEYOND_JSON = [
  [[undefined, [undefined], { gone: undefined, here: 1 }]],
  [[new Date(0), { at: new Date(1_795_447_966_090) }]],
  [[NaN, Infinity, -Infinity, [NaN], -0], [NaN, Infinity, -Infinity, [NaN], 0]],
  [[new Uint8Array([1, 2]).buffer, { deep: [new Uint8Array([3]).buffer] }]],
];

for (const client of releases) {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    const options = { url: msgpackBase, transports, parser };

    test(`${client.version}: events and acks over ${name}`, async (t) => {
      const peer = await connect(t, client, options);
      for (const [args, back] of BEYOND_JSON.map(([args, back]) => [args, back ?? args])) {
        peer.emit('echo', ...args);
        assert.deepEqual(await peer.take('echo'), back);
        assert.deepEqual(await peer.ask('echo-ack', ...args), back);
      }
      for (const [args, back] of VALUES.map((args) => [args, args])) {
        peer.emit('echo', ...args);
        assert.deepEqual(legible(await peer.take('echo')), legible(back));
        assert.deepEqual(legible(await peer.ask('echo-ack', ...args)), legible(back));
      }
      peer.emit('ask-me', { raw: Buffer.from([9]) });
      assert.deepEqual(legible(await peer.take('answer')), legible([{ raw: Buffer.from([9]) }]));
      peer.emit('ask-timeout');
      assert.deepEqual(await peer.take('timed-out'), [true]);
      peer.emit('binary', Buffer.from([1, 2, 3]));
      const list = [{ $b: '010203' }, { again: { $b: '010203' } }];
      assert.deepEqual(legible(await peer.take('binary')), [{ n: 3, rev: { $b: '030201' }, list }]);
      assert.equal((await peer.ask('big', 900_000))[0].length, 900_000);
      const large = 'é'.repeat(300_000); // a third longer in base64, and still within maxPayload
      assert.deepEqual(await peer.ask('echo-ack', large), [large]);
      if (name === 'upgrade') await peer.upgraded();
      assert.equal((await peer.ask('whoami'))[0].transport, name === 'polling' ? 'polling' : 'websocket');
    });

    test(`${client.version}: namespaces over ${name}`, async (t) => {
      const refused = await refusal(start(t, client, { ...options, ns: '/admin' }));
      const unknown = await refusal(start(t, client, { ...options, ns: '/nope' }));
      const rejected = await refusal(start(t, client, { ...options, token: 'reject' }));
      assert.deepEqual(refused, { message: 'forbidden', data: { need: 'secret' } });
      assert.equal(unknown.message, 'Invalid namespace');
      assert.deepEqual(rejected, { message: 'not authorized', data: { code: 401 } });
      const admitted = await connect(t, client, { ...options, ns: '/admin', token: 'secret' });
      assert.equal((await admitted.ask('whoami'))[0].ns, '/admin');
      const pair = await Promise.all([1, 2].map(() => connect(t, client, { ...options, ns: '/tenant-3' })));
      pair[0].emit('cast', Buffer.from([1]));
      assert.deepEqual(legible(await pair[1].take('cast')), [{ $b: '01' }]);
      const left = await connect(t, client, options);
      left.emit('bye');
      assert.deepEqual(await left.take('(disconnect)'), ['io server disconnect']);
    });

    test(`${client.version}: volatile events, a burst and the goodbye over ${name}`, async (t) => {
      const peer = await connect(t, client, options);
      peer.emit('volatile', 100);
      assert.deepEqual(await peer.take('tick-end'), [100]);
      const ticks = peer.log.filter(([event]) => event === 'tick').map(([, index]) => index);
      assert.deepEqual(ticks, [...ticks].sort((a, b) => a - b));
      peer.emit('burst', 1000, 100);
      assert.deepEqual(await peer.take('burst-end'), [1000]);
      const got = peer.log.filter(([event]) => event === 'burst').map(([, index]) => index);
      assert.deepEqual(got, Array.from({ length: 1000 }, (_, index) => index));
      peer.emit('bye-all');
      assert.deepEqual(await peer.take('(disconnect)'), ['io server disconnect']);
    });
  }
}

test('clients of both releases in one room', async (t) => {
  const transports = Object.values(TRANSPORTS);
  const peers = await Promise.all(releases.map((client, index) => (
    connect(t, client, { url: msgpackBase, transports: transports[index % transports.length], parser }))));
  for (const peer of peers) assert.deepEqual(await peer.ask('join', 'mixed'), ['ok']);
  const said = { text: 'thré♥e😀', raw: Buffer.from([1, 2]) };
  peers[0].emit('roomall', 'mixed', said);
  for (const peer of peers) assert.deepEqual(legible(await peer.take('roomall')), legible(['mixed', said]));
});

test('a client with the default parser is closed', async (t) => {
  const peer = start(t, newest, { url: msgpackBase, transports: ['websocket'] });
  const [error] = await Promise.race([
    peer.take('(connect_error)'),
    new Promise((resolve) => peer.socket.io.on('close', (reason) => resolve([{ message: reason }]))),
  ]);
  assert.ok(error.message, 'a reason');
});

const hex = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** An event `echo` in `/` whose arguments are these values. */
const echo = (count, values) => hex(`83 a474797065 02 a36e7370 a12f a464617461 9${count} a46563686f ${values}`);
const CONNECT = hex('82 a474797065 00 a36e7370 a12f');
const DISCONNECT = '82 a474797065 01 a36e7370 a12f';
/** `docs/protocol/msgpack.md`, the column of the robust server. */
const CLOSES = [
  ['text', '40'],
  ['nothing', Buffer.alloc(0)],
  ['a byte that begins nothing', hex('c1')],
  ['no map', hex('90')],
  ['half a packet', hex(DISCONNECT).subarray(0, -1)],
  ['a packet with a tail', hex(`${DISCONNECT} c0`)],
  ['two packets', hex(DISCONNECT + DISCONNECT)],
  ['no type', hex('81 a36e7370 a12f')],
  ['type 5', hex('83 a474797065 05 a36e7370 a12f a464617461 91 a16d')],
  ['a type below zero', hex('82 a474797065 ff a36e7370 a12f')],
  ['CONNECT_ERROR from a client', hex('83 a474797065 04 a36e7370 a12f a464617461 a16d')],
  ['a second CONNECT', CONNECT],
  ['no namespace', hex('81 a474797065 01')],
  ['a namespace without slash', hex('82 a474797065 00 a36e7370 a161')],
  ['a namespace with a comma', hex('82 a474797065 00 a36e7370 a42f612c62')],
  ['CONNECT with an array', hex('83 a474797065 00 a36e7370 a92f74656e616e742d31 a464617461 90')],
  ['an event without data', hex('82 a474797065 02 a36e7370 a12f')],
  ['an empty event', hex('83 a474797065 02 a36e7370 a12f a464617461 90')],
  ['an event named by an object', hex('83 a474797065 02 a36e7370 a12f a464617461 91 81 a8746f537472696e67 01')],
  ['an event named disconnect', hex('83 a474797065 02 a36e7370 a12f a464617461 92 aa646973636f6e6e656374 a178')],
  ['a fraction for an id', hex('84 a474797065 02 a36e7370 a12f a26964 cb3ff8000000000000 a464617461 91 a16d')],
  ['an id below zero', hex('84 a474797065 02 a36e7370 a12f a26964 ff a464617461 91 a16d')],
  ['an array that announces 2^32 elements', echo(2, 'ddffffffff')],
  ['a map that announces 2^32 elements', echo(2, 'dfffffffff')],
  ['bytes that are not there', echo(2, 'c6ffffffff')],
  ['deep nesting', echo(2, `${'91'.repeat(5000)}c0`)],
  ['a number for a key', echo(2, '81 01 02')],
  ['an unknown extension', echo(2, 'd4 05 00')],
  ['text that is not UTF-8', echo(2, 'a1 ff')],
  ['a placeholder beside bytes', echo(3, '82 ac5f706c616365686f6c646572 c3 a36e756d 00 c40101')],
  ['too many bytes', echo(2, `dc03e9 ${'c400'.repeat(1001)}`)],
];

async function joined(t) {
  const socket = new RawSocket({ EIO: 4, transport: 'websocket' }, { at: port + 1 });
  t.after(() => socket.cut());
  await socket.next();
  socket.send(CONNECT);
  const connected = await socket.message();
  assert.ok(Buffer.isBuffer(connected) && connected.includes('sid'), `got ${connected}`);
  return socket;
}

for (const [what, message] of CLOSES) {
  test(`${what} ends the session, and no other`, async (t) => {
    const [neighbour, socket] = [await joined(t), await joined(t)];
    socket.send(message);
    assert.ok('code' in (await socket.outcome()));
    neighbour.send(echo(2, 'cd0100'));
    const answer = await neighbour.message();
    assert.deepEqual(answer, hex('83 a474797065 02 a464617461 92 a46563686f cd0100 a36e7370 a12f'));
  });
}
