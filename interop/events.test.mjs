// Events: every JSON shape and every kind of text comes back exactly as it went, in order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachClient } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';

const deep = (levels) => (levels === 0 ? 'bottom' : { in: [deep(levels - 1)] });

const SHAPES = [
  ['no arguments', []],
  ['null', [null]],
  ['several nulls', [null, null]],
  ['booleans', [true, false]],
  ['integers', [0, -1, 42, 2 ** 31, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]],
  ['fractions and exponents', [0.1, -1.5, 1e21, 1e-7, 1.7976931348623157e308]],
  ['empty string', ['']],
  ['plain string', ['text']],
  ['empty array and object', [[], {}]],
  ['nested', [{ a: [1, { b: [] }], c: { d: null } }, [[[]]]]],
  ['forty levels', [deep(20)]],
  ['twenty arguments', Array.from({ length: 20 }, (_, index) => index)],
  ['what looks like a placeholder', [{ _placeholder: true, num: 0 }]],
  ['what looks like a packet', ['42["echo"]', '2probe', '1:6', 'b4AQI=']],
  ['keys that are not ASCII', [{ 'ключ': 1, '': 2, 'a"b\\c': 3 }]],
];

const TEXTS = [
  ['quotes and escapes', '"\\/\b\f\n\r\t'],
  ['control characters', '\u0000\u0001\u001e\u001f\u007f'],
  ['Latin-1', 'thrée ÿ ×'],
  ['beyond Latin-1', 'Ā ♥ € 日本語 עברית'],
  ['astral', '😀 𝒳 \u{10ffff}'],
  ['line separators', 'a\u2028b\u2029c'],
  ['byte order mark', '\ufeffx'],
  ['lone surrogate', '\ud83d'],
];

eachClient((client, transports) => {
  test('JSON shapes', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const [name, args] of SHAPES) {
      peer.emit('echo', ...args);
      assert.deepEqual(await peer.take('echo'), args, name);
    }
  });

  for (const [name, text] of TEXTS) {
    test(`text: ${name}`, async (t) => {
      const peer = await connect(t, client, { transports });
      peer.emit('echo', text, { [`k${text}`]: [text] });
      assert.deepEqual(await peer.take('echo'), [text, { [`k${text}`]: [text] }]);
    });
  }

  // Engine.IO revision 3 had a dialect that encoded text twice. A server that understands this dialect has to read
  // these characters as double-encoded text (docs/protocol/engine-io.md §3.3). With revision 4 there is no doubt.
  if (client.eio === 4) {
    test('text: characters that read as UTF-8 bytes', async (t) => {
      const peer = await connect(t, client, { transports });
      peer.emit('echo', 'Ã©');
      assert.deepEqual(await peer.take('echo'), ['Ã©']);
    });
  }

  test('order of a hundred events sent at once', async (t) => {
    const peer = await connect(t, client, { transports });
    for (let index = 0; index < 100; index += 1) peer.emit('echo', index);
    for (let index = 0; index < 100; index += 1) assert.deepEqual(await peer.take('echo'), [index]);
  });

  test('unknown events are ignored', async (t) => {
    const peer = await connect(t, client, { transports });
    peer.emit('no-such-event', 1);
    peer.emit('', 2);
    peer.emit('__proto__', 3);
    await peer.settle();
    assert.deepEqual(peer.log, [['(connect)']]);
  });

  test('whoami tells the connection as it is', async (t) => {
    const peer = await connect(t, client, { transports: transports.slice(0, 1) });
    const [answer] = await peer.ask('whoami');
    assert.deepEqual(answer, {
      id: peer.id,
      ns: '/',
      transport: transports[0],
      eio: client.eio,
      recovered: false,
      rooms: [peer.id],
      token: null,
    });
  });
});
