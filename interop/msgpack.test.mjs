// The MessagePack parser, on its own port.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { legible } from './lib/bytes.mjs';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { connect, refusal, start } from './lib/peer.mjs';
import { msgpackBase } from './lib/target.mjs';

const parser = createRequire(import.meta.url)('socket.io-msgpack-parser');

const VALUES = [
  [],
  [null, true, false, '', [], {}],
  [0, 1, -1, 127, 128, -32, -33, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32, -(2 ** 31), Number.MAX_SAFE_INTEGER],
  [0.5, -1.5, 1e-7, -123456.789],
  ['x'.repeat(31), 'x'.repeat(32), 'x'.repeat(255), 'x'.repeat(256), 'x'.repeat(65_536)],
  ['thré♥e😀', { 'ключ': ['\u0000', '\u001e'] }],
  [Array.from({ length: 16 }, (_, index) => index), Array.from({ length: 70_000 }, () => 0)],
  [Buffer.from([1, 2]), { raw: [Buffer.alloc(0), Buffer.alloc(300, 7)] }],
  Array.from({ length: 20 }, (_, index) => Buffer.from([index])),
];

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  test(`events and acks over ${name}`, async (t) => {
    const peer = await connect(t, newest, { url: msgpackBase, transports, parser });
    for (const args of VALUES) {
      peer.emit('echo', ...args);
      assert.deepEqual(legible(await peer.take('echo')), legible(args));
      assert.deepEqual(legible(await peer.ask('echo-ack', ...args)), legible(args));
    }
    peer.emit('ask-me', { raw: Buffer.from([9]) });
    assert.deepEqual(legible(await peer.take('answer')), legible([{ raw: Buffer.from([9]) }]));
  });

  test(`namespaces over ${name}`, async (t) => {
    const options = { url: msgpackBase, transports, parser };
    const refused = start(t, newest, { ...options, ns: '/admin' });
    assert.deepEqual(await refusal(refused), { message: 'forbidden', data: { need: 'secret' } });
    assert.equal((await refusal(start(t, newest, { ...options, ns: '/nope' }))).message, 'Invalid namespace');
    const admitted = await connect(t, newest, { ...options, ns: '/admin', token: 'secret' });
    assert.equal((await admitted.ask('whoami'))[0].ns, '/admin');
    const pair = await Promise.all([1, 2].map(() => connect(t, newest, { ...options, ns: '/tenant-3' })));
    pair[0].emit('cast', Buffer.from([1]));
    assert.deepEqual(legible(await pair[1].take('cast')), [{ $b: '01' }]);
  });

  test(`a burst and the goodbye over ${name}`, async (t) => {
    const peer = await connect(t, newest, { url: msgpackBase, transports, parser });
    peer.emit('burst', 1000, 100);
    assert.deepEqual(await peer.take('burst-end'), [1000]);
    const got = peer.log.filter(([event]) => event === 'burst').map(([, index]) => index);
    assert.deepEqual(got, Array.from({ length: 1000 }, (_, index) => index));
    peer.emit('bye-all');
    assert.deepEqual(await peer.take('(disconnect)'), ['io server disconnect']);
  });
}
