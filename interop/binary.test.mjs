// Binary: at any depth, of any length, several in one packet, in events and in acks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { legible } from './lib/bytes.mjs';
import { eachClient } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';

const bytes = (...values) => Buffer.from(values);
const shared = bytes(9, 9);

const VALUES = [
  ['one buffer', [bytes(0, 1, 2, 254, 255)]],
  ['an empty buffer', [Buffer.alloc(0)]],
  ['an empty buffer between others', [bytes(1), Buffer.alloc(0), bytes(2)]],
  ['nested', [{ a: [bytes(1), { b: bytes(2, 3) }], text: 'é' }, 'tail']],
  ['ten attachments, the most allowed', Array.from({ length: 10 }, (_, index) => bytes(index))],
  ['one buffer twice', [shared, { again: shared }]],
  ['all byte values', [Buffer.from(Array.from({ length: 256 }, (_, index) => index))]],
  ['what looks like a packet', [Buffer.from('42["echo"]'), Buffer.from('\u001e2probe')]],
  ['64 KiB', [Buffer.alloc(65_536, 0xa5)]],
];

eachClient((client, transports) => {
  test('events', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const [name, args] of VALUES) {
      peer.emit('echo', ...args);
      assert.deepEqual(legible(await peer.take('echo')), legible(args), name);
    }
  });

  test('acks', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const [name, args] of VALUES) {
      assert.deepEqual(legible(await peer.ask('echo-ack', ...args)), legible(args), name);
    }
  });

  test('the server reads the bytes and writes its own', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const sent of [bytes(1, 2, 3), bytes(0), Buffer.alloc(0)]) {
      peer.emit('binary', sent);
      const [got] = await peer.take('binary');
      const expected = { n: sent.length, rev: Buffer.from(sent).reverse(), list: [sent, { again: sent }] };
      assert.deepEqual(legible(got), legible(expected));
    }
  });

  test('the server asks about bytes', async (t) => {
    const peer = await connect(t, client, { transports });
    peer.emit('ask-me', { raw: bytes(7, 8) });
    assert.deepEqual(legible(await peer.take('answer')), legible([{ raw: bytes(7, 8) }]));
  });

  test('text and binary keep their order', async (t) => {
    const peer = await connect(t, client, { transports });
    const sent = Array.from({ length: 60 }, (_, index) => (index % 3 === 0 ? bytes(index) : `text ${index}`));
    for (const value of sent) peer.emit('echo', value);
    const got = [];
    while (got.length < sent.length) got.push(...(await peer.take('echo')));
    assert.deepEqual(legible(got), legible(sent));
  });

  test('half a megabyte', async (t) => {
    const peer = await connect(t, client, { transports });
    const sent = Buffer.alloc(500_000, 'sio');
    const [got] = await peer.ask('echo-ack', sent);
    assert.ok(Buffer.from(got).equals(sent));
  });
});
