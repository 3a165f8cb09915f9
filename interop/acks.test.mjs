// Acknowledgements in both directions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachClient, mixedCrowd } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';
import { sleep } from './lib/wait.mjs';

eachClient((client, transports) => {
  test('the server answers with what it was given', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const args of [[], [null], [''], [1, 'two', { three: [3] }], ['thré♥e😀']]) {
      assert.deepEqual(await peer.ask('echo-ack', ...args), args);
    }
  });

  test('two hundred questions in flight get each its own answer', async (t) => {
    const peer = await connect(t, client, { transports });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => peer.ask('echo-ack', index)));
    assert.deepEqual(answers, answers.map((_, index) => [index]));
  });

  test('no answer where none was asked', async (t) => {
    const peer = await connect(t, client, { transports });
    peer.emit('echo-ack', 'unasked');
    await peer.settle();
    assert.deepEqual(peer.log, [['(connect)']]);
  });

  test('the server asks and hears the answer', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const x of ['plain', 'thré♥e😀', { nested: [null] }, 0]) {
      peer.emit('ask-me', x);
      assert.deepEqual((await peer.take('question'))[0], x);
      assert.deepEqual(await peer.take('answer'), [x]);
    }
  });

  test('the server gives up waiting, and a late answer harms nobody', async (t) => {
    const peer = await connect(t, client, { transports });
    const asked = Date.now();
    let answer;
    peer.socket.on('question-never', (ack) => { answer = ack; });
    peer.emit('ask-timeout');
    assert.deepEqual(await peer.take('timed-out'), [true]);
    assert.ok(Date.now() - asked >= 190, 'the timeout is 200 ms');
    assert.equal(typeof answer, 'function', 'question-never asks for an ack');
    answer('too late');
    await peer.settle();
    assert.equal(peer.count('timed-out'), 0, 'the timeout is told once');
  });

  test('no-ack never answers', async (t) => {
    const peer = await connect(t, client, { transports });
    let answered = false;
    peer.socket.emit('no-ack', () => { answered = true; });
    await peer.settle();
    await sleep(100);
    assert.equal(answered, false);
  });
});

/** Connects one client of every release, and lets all of them join a room. */
async function roomful(t, room) {
  return Promise.all(mixedCrowd().map(async ({ client, transports }) => {
    const peer = await connect(t, client, { transports });
    await peer.ask('join', room);
    return peer;
  }));
}

test('a room of every release answers one question', async (t) => {
  const peers = await roomful(t, 'jury');
  for (const x of ['plain', 'thré♥e😀', { nested: [null] }]) {
    const [asked] = await peers[0].ask('ask-room', 'jury', 4000, x);
    assert.deepEqual(asked, { answers: peers.map(() => x), missing: 0 });
    for (const peer of peers) assert.deepEqual((await peer.take('question'))[0], x);
  }
});

test('of those who do not answer in time, and of those who go, the rest is told', async (t) => {
  const [asker, silent, leaver, ...others] = await roomful(t, 'half');
  silent.socket.off('question');
  leaver.socket.off('question');
  leaver.socket.on('question', () => leaver.close());
  const begun = Date.now();
  const [asked] = await asker.ask('ask-room', 'half', 500, 'who is there?');
  assert.ok(Date.now() - begun >= 490, 'the silent one is waited for');
  const answers = [asker, ...others].map(() => 'who is there?');
  assert.deepEqual(asked, { answers, missing: 2 });
  // When the silent one has gone too, nobody is waited for.
  await silent.close();
  const [again] = await asker.ask('ask-room', 'half', 4000, 1);
  assert.deepEqual(again, { answers: answers.map(() => 1), missing: 0 });
});
