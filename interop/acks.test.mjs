// Acknowledgements in both directions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachClient } from './lib/clients.mjs';
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
