// Socket.IO packets that clients should not send: docs/protocol/socket-io.md §9, the column of the robust server.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { joinedSocket, RawSocket } from './lib/rawsocket.mjs';

const bytes = Buffer.from([1, 2]);
const nested = (depth) => `42["echo",${'['.repeat(depth)}${']'.repeat(depth)}]`;

/** Packets that a client of revision 5 in `/` must not send. Several packets are sent in order. */
const CLOSES = [
  ['an empty message', ['4']],
  ['unknown types', ['47']],
  ['a letter for a type', ['4x']],
  ['CONNECT_ERROR from a client', ['44{"message":"no"}']],
  ['a second CONNECT', ['40']],
  ['CONNECT with an array', ['40/tenant-1,[1]']],
  ['CONNECT with a string', ['40/tenant-1,"x"']],
  ['CONNECT with null', ['40/tenant-1,null']],
  ['CONNECT with half an object', ['40/tenant-1,{"a":']],
  ['an event without payload', ['42']],
  ['an event that is an object', ['42{"a":1}']],
  ['an empty event', ['42[]']],
  ['half an event', ['42["echo"']],
  ['an event with a tail', ['42["echo"]x']],
  ['an event named null', ['42[null]']],
  ['an event named by an array', ['42[["echo"]]']],
  ['an event named by an object', ['42[{"toString":"foo"}]']],
  ['an event for a namespace not joined', ['42/tenant-1,["echo"]']],
  ['an ack that is an object', ['430{"a":1}']],
  ['DISCONNECT with a payload', ['41"x"']],
  ['a negative ack id', ['42-1["echo"]']],
  ['a space for an ack id', ['42 ["echo"]']],
  ['an ack id beyond 64 bits', ['4299999999999999999999["echo-ack"]']],
  ['no number of attachments', ['45-["echo"]']],
  ['no dash after the number', ['451["echo"]']],
  ['a negative number of attachments', ['45-1-["echo"]']],
  ['a fraction of attachments', ['451.5-["echo"]']],
  ['attachments with an exponent', ['451e0-["echo",{"_placeholder":true,"num":0}]']],
  ['attachments in hexadecimal', ['450x1-["echo",{"_placeholder":true,"num":0}]']],
  ['a space before the attachments', ['45 1-["echo",{"_placeholder":true,"num":0}]']],
  ['no attachments at all', ['450-["echo"]']],
  ['eleven attachments', ['4511-["echo"]']],
  ['a great many attachments', ['4599999999-["echo"]']],
  ['a placeholder beyond the attachments', ['451-["echo",{"_placeholder":true,"num":1}]', bytes]],
  ['a placeholder below zero', ['451-["echo",{"_placeholder":true,"num":-1}]', bytes]],
  ['a placeholder that is a name', ['451-["echo",{"_placeholder":true,"num":"splice"}]', bytes]],
  ['a placeholder between two', ['451-["echo",{"_placeholder":true,"num":0.5}]', bytes]],
  ['text where an attachment is due', ['451-["echo",{"_placeholder":true,"num":0}]', '42["echo",1]']],
  ['binary out of nowhere', [bytes]],
  ['a raw control character', ['42["echo","\u0001"]']],
  ['five thousand brackets', [nested(5000)]],
  ...['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'].map((name) => [
    `the reserved name ${name}`,
    [`42["${name}"]`],
  ]),
];

const HARMLESS = [
  ['an ack nobody waits for', '437["x"]'],
  ['a number for a name', '42[5]'],
  ['the name __proto__', '42["__proto__",{"__proto__":{"a":1}}]'],
  ['the name error', '42["error",1]'],
  ['the name connection', '42["connection"]'],
  ['spaces inside the JSON', '42[ "no-such-event" , 1 ]'],
];

/** After a packet that ends the connection, the server must not answer further events. */
async function assertClosedSilently(socket, packets) {
  for (const packet of packets) socket.send(packet);
  const end = await socket.message(2500);
  assert.equal(end.code, 1005, `expected the end, got ${JSON.stringify(end)}`);
}

describe('ends the connection', () => {
  for (const [name, packets] of CLOSES) {
    test(name, async (t) => assertClosedSilently(await joinedSocket(t), packets));
  }

  for (const packet of ['42["echo",1]', '430["x"]', '41', '41/tenant-1,']) {
    test(`${packet} before CONNECT`, async (t) => {
      const socket = new RawSocket({ EIO: 4, transport: 'websocket' });
      t.after(() => socket.cut());
      await socket.next();
      await assertClosedSilently(socket, [packet]);
    });
  }

  test('an event for another tenant than the one joined', async (t) => {
    const socket = await joinedSocket(t);
    socket.send('40/tenant-1,');
    assert.match(await socket.message(), /^40\/tenant-1,\{"sid":/);
    await assertClosedSilently(socket, ['42/tenant-2,["echo"]']);
  });
});

describe('harms nobody', () => {
  for (const [name, packet] of HARMLESS) {
    test(name, async (t) => {
      const socket = await joinedSocket(t);
      socket.send(packet);
      socket.send('42["echo","alive"]');
      assert.equal(await socket.message(), '42["echo","alive"]');
    });
  }

  test('ids of acks come back as numbers', async (t) => {
    const socket = await joinedSocket(t);
    for (const [sent, answered] of [['0', '0'], ['007', '7'], ['9007199254740991', '9007199254740991']]) {
      socket.send(`42${sent}["echo-ack"]`);
      assert.equal(await socket.message(), `43${answered}[]`);
    }
  });

  test('placeholders in any order, twice or not at all', async (t) => {
    const socket = await joinedSocket(t);
    const two = [Buffer.from([1]), Buffer.from([2])];
    socket.send('452-0["echo-ack",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]');
    two.forEach((part) => socket.send(part));
    const echoed = await socket.message();
    assert.ok(echoed.startsWith('462-0'), echoed);
    const parts = [await socket.message(), await socket.message()];
    const values = JSON.parse(echoed.slice(5)).map((placeholder) => parts[placeholder.num]);
    assert.deepEqual(values, [...two].reverse(), 'whatever the numbers, the values come in their order');
    socket.send('451-1["echo-ack","unused"]');
    socket.send(two[0]);
    const unused = await socket.message();
    assert.match(unused, /^(431|461-1)\["unused"\]$/, 'what nobody refers to may be passed on or left out');
    if (unused.startsWith('46')) assert.deepEqual(await socket.message(), two[0]);
  });

  test('heartbeats between a packet and its attachments', async (t) => {
    const socket = await joinedSocket(t);
    assert.equal(await socket.next(), '2', 'a heartbeat is due');
    socket.send('451-["echo",{"_placeholder":true,"num":0}]');
    socket.send('3');
    socket.send(bytes);
    assert.equal(await socket.message(), '451-["echo",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await socket.message(), bytes);
  });
});
