// Rooms and broadcasts, between clients of every release and transport at once.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { legible } from './lib/bytes.mjs';
import { mixedCrowd } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';

const gather = (t, ns) =>
  Promise.all(mixedCrowd().map(({ client, transports }) => connect(t, client, { transports, ns })));

/** Every listener hears `expected`, once, and the rest of the crowd hears nothing. */
async function heardBy(crowd, listeners, event, expected) {
  for (const peer of listeners) assert.deepEqual(legible(await peer.take(event)), legible(expected), peer.client.version);
  await Promise.all(crowd.map((peer) => peer.settle()));
  for (const peer of crowd) assert.equal(peer.count(event), 0, `${peer.client.version}: one ${event} too many`);
}

const others = (crowd, peer) => crowd.filter((other) => other !== peer);

const VALUES = ['plain', 'thré♥e😀', { nested: [null, 'é'] }, Buffer.from([0, 255, 1]), [Buffer.alloc(0), 'x']];

test('cast reaches everybody else in the namespace', async (t) => {
  const crowd = await gather(t, '/tenant-500');
  for (const speaker of crowd) {
    for (const value of VALUES) {
      speaker.emit('cast', value);
      await heardBy(crowd, others(crowd, speaker), 'cast', [value]);
    }
  }
});

test('castall reaches everybody, the sender too', async (t) => {
  const crowd = await gather(t, '/');
  for (const speaker of crowd) {
    for (const value of VALUES) {
      speaker.emit('castall', value);
      await heardBy(crowd, crowd, 'castall', [value]);
    }
  }
});

test('a room is heard by its members only', async (t) => {
  const crowd = await gather(t, '/');
  const room = `room ♥ ${randomUUID()}`;
  const members = crowd.filter((_, index) => index % 2 === 0);
  for (const member of members) assert.deepEqual(await member.ask('join', room), ['ok']);
  for (const speaker of crowd) {
    speaker.emit('room', room, 'without me');
    await heardBy(crowd, others(members, speaker), 'room', [room, 'without me']);
    speaker.emit('roomall', room, 'with me');
    await heardBy(crowd, members, 'roomall', [room, 'with me']);
  }
});

test('joining twice is joining once, and who left hears nothing', async (t) => {
  const crowd = await gather(t, '/');
  const room = randomUUID();
  for (const peer of crowd) {
    assert.deepEqual(await peer.ask('join', room), ['ok']);
    assert.deepEqual(await peer.ask('join', room), ['ok']);
    assert.deepEqual((await peer.ask('whoami'))[0].rooms, [peer.id, room].sort());
  }
  crowd[0].emit('roomall', room, 1);
  await heardBy(crowd, crowd, 'roomall', [room, 1]);
  for (const peer of crowd) {
    assert.deepEqual(await peer.ask('leave', room), ['ok']);
    assert.deepEqual(await peer.ask('leave', room), ['ok']);
    assert.deepEqual((await peer.ask('whoami'))[0].rooms, [peer.id]);
  }
  crowd[0].emit('roomall', room, 2);
  await heardBy(crowd, [], 'roomall', [room, 2]);
});

test('the room named by an id is that socket', async (t) => {
  const crowd = await gather(t, '/');
  for (const [index, speaker] of crowd.entries()) {
    const listener = crowd[(index + 1) % crowd.length];
    speaker.emit('room', listener.id, 'psst');
    await heardBy(crowd, listener === speaker ? [] : [listener], 'room', [listener.id, 'psst']);
  }
});

test('who disconnects leaves its rooms, and is in none when it comes back', async (t) => {
  const crowd = await gather(t, '/');
  const room = randomUUID();
  for (const peer of crowd) await peer.ask('join', room);
  const [gone, ...rest] = crowd;
  gone.socket.disconnect();
  gone.socket.connect();
  await gone.take('(disconnect)');
  await gone.take('(connect)');
  assert.deepEqual((await gone.ask('whoami'))[0].rooms, [gone.id]);
  gone.emit('roomall', room, 'still here?');
  await heardBy(crowd, rest, 'roomall', [room, 'still here?']);
});
