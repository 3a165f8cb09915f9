// The upgrade from polling to websocket while messages flow in both directions: no message is lost, doubled or early.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { clients, TRANSPORTS } from './lib/clients.mjs';
import { connect, start } from './lib/peer.mjs';
import { sleep, until, within } from './lib/wait.mjs';

const numbers = (count) => Array.from({ length: count }, (_, index) => index);
const received = (peer, event) => peer.log.filter(([name]) => name === event).map(([, index]) => index);

for (const client of clients) {
  describe(`${client.version} from polling to websocket`, () => {
    test('the upgrade happens', async (t) => {
      const peer = await connect(t, client, { transports: TRANSPORTS.upgrade });
      await peer.upgraded();
      await peer.settle();
      assert.equal((await peer.ask('whoami'))[0].transport, 'websocket');
    });

    // Genuine servers let most clients wait for 100 ms. A loaded machine may delay some connects, but not half of them.
    test('the upgrade waits for no timer', async (t) => {
      const times = [];
      for (let round = 0; round < 9; round += 1) {
        const peer = start(t, client, { transports: TRANSPORTS.upgrade });
        const { engine } = peer;
        const open = new Promise((resolve) => { engine.once('open', () => resolve(performance.now())); });
        const upgrade = new Promise((resolve) => { engine.once('upgrade', () => resolve(performance.now())); });
        times.push((await within(upgrade, 'the upgrade')) - (await open));
        await peer.close();
      }
      times.sort((a, b) => a - b);
      assert.ok(times[4] < 90, `milliseconds from open to upgrade: ${times.map(Math.round)}`);
    });

    // With different pauses between the messages, the switch comes at different places among them.
    for (const gap of [0, 1, 3]) {
      test(`with a message every ${gap} ms each way`, async (t) => {
        const peer = await connect(t, client, { transports: TRANSPORTS.upgrade });
        const sender = await connect(t, client, { transports: TRANSPORTS.websocket });
        let sent = 0;
        // The loop goes on until the switch is made and some time after it, for at most 2000 messages.
        for (let after = 0; after < 50 && sent < 2000; sent += 1) {
          peer.emit('echo', sent);
          sender.emit('room', peer.id, sent);
          if (peer.transport === 'websocket') after += 1;
          await (gap === 0 ? new Promise(setImmediate) : sleep(gap));
        }
        await peer.upgraded();
        await until(() => peer.count('echo') >= sent && peer.count('room') >= sent, 'all messages').catch(() => {});
        await peer.settle();
        assert.deepEqual(received(peer, 'echo'), numbers(sent), 'what the client sent');
        assert.deepEqual(
          peer.log.filter(([name]) => name === 'room').map(([, , index]) => index),
          numbers(sent),
          'what another client sent',
        );
      });
    }

    test('with a burst under way', async (t) => {
      const peer = await connect(t, client, { transports: TRANSPORTS.upgrade });
      peer.emit('burst', 3000, 300);
      peer.emit('echo', Buffer.from([1]), Buffer.from([2]));
      await peer.upgraded();
      assert.deepEqual(await peer.take('burst-end', 15_000), [3000]);
      assert.deepEqual(received(peer, 'burst'), numbers(3000));
      const [first, second] = await peer.take('echo');
      assert.deepEqual([...Buffer.from(first), ...Buffer.from(second)], [1, 2]);
    });

    test('twenty at once', async (t) => {
      const crowd = await Promise.all(
        numbers(20).map(() => connect(t, client, { transports: TRANSPORTS.upgrade, ns: '/tenant-77' })),
      );
      await Promise.all(crowd.map((peer) => peer.upgraded()));
      await Promise.all(crowd.map((peer) => peer.settle()));
      for (const [index, peer] of crowd.entries()) peer.emit('cast', index);
      for (const [index, peer] of crowd.entries()) {
        const heard = new Set();
        while (heard.size < 19) heard.add((await peer.take('cast'))[0]);
        assert.ok(!heard.has(index), 'nobody hears itself');
        await peer.settle();
        assert.equal(peer.count('cast'), 0, 'nobody hears anything twice');
      }
    });
  });
}
