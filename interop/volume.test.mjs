// Much at once: big payloads, bursts, volatile events.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachClient } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';

eachClient((client, transports) => {
  test('900 000 bytes down', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 900_000]) {
      const [answer] = await peer.ask('big', size);
      assert.equal(answer.length, size);
      assert.ok(answer === 'b'.repeat(size));
    }
  });

  test('900 000 bytes up and down', async (t) => {
    const peer = await connect(t, client, { transports });
    const sent = 'u'.repeat(900_000);
    assert.ok((await peer.ask('echo-ack', sent))[0] === sent);
  });

  test('100 000 characters that are not ASCII', async (t) => {
    const peer = await connect(t, client, { transports });
    const sent = '€😀'.repeat(33_333);
    assert.ok((await peer.ask('echo-ack', sent))[0] === sent);
  });

  for (const [count, size] of [[5000, 0], [2000, 100], [100, 10_000]]) {
    test(`a burst of ${count} events of ${size} bytes`, async (t) => {
      const peer = await connect(t, client, { transports });
      peer.emit('burst', count, size);
      assert.deepEqual(await peer.take('burst-end', 15_000), [count]);
      const fill = 'x'.repeat(size);
      const got = peer.log.filter(([name]) => name === 'burst');
      assert.equal(got.length, count);
      got.forEach(([, index, text], place) => assert.ok(index === place && text === fill, `event ${place} is ${index}`));
    });
  }

  test('a burst of 1000 events up', async (t) => {
    const peer = await connect(t, client, { transports });
    for (let index = 0; index < 1000; index += 1) peer.emit('echo', index, 'y'.repeat(50));
    await peer.settle();
    const got = peer.log.filter(([name]) => name === 'echo').map(([, index]) => index);
    assert.deepEqual(got, Array.from({ length: 1000 }, (_, index) => index));
  });

  test('volatile events may be missing, but not reordered or repeated', async (t) => {
    const peer = await connect(t, client, { transports });
    for (const count of [0, 1, 1000]) {
      peer.log.length = 0;
      peer.emit('volatile', count);
      assert.deepEqual(await peer.take('tick-end'), [count]);
      assert.equal(peer.log.at(-1)[0], 'tick-end', 'the reliable event is the last');
      const ticks = peer.log.filter(([name]) => name === 'tick').map(([, index]) => index);
      ticks.forEach((tick, place) => assert.ok(tick < count && (place === 0 || tick > ticks[place - 1])));
      if (count > 0 && transports[0] === 'websocket') assert.equal(ticks[0], 0, 'an idle websocket takes the first');
    }
  });
});
