// Connection state recovery, on its own port: missed events come once, in order, before any new event.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { clients, TRANSPORTS } from './lib/clients.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { connect } from './lib/peer.mjs';
import { recoveryBase } from './lib/target.mjs';
import { until } from './lib/wait.mjs';

// The first release whose client can recover is 4.6.
const able = clients.filter(({ version }) => version === '4.8.4');
const unable = clients.filter(({ version }) => version !== '4.8.4');

/** The server appends an offset to every event that can be recovered; the client leaves it in place. */
const withoutOffset = (args) => {
  assert.equal(typeof args.at(-1), 'string', 'an offset');
  return args.slice(0, -1);
};

for (const client of able) {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    describe(`${client.version} over ${name}`, () => {
      test('comes back as the same socket and hears what it missed', async (t) => {
        const options = { url: recoveryBase, transports, reconnection: true, reconnectionDelay: 600 };
        const peer = await connect(t, client, options);
        const other = await connect(t, client, { url: recoveryBase, transports: TRANSPORTS.websocket });
        if (name === 'upgrade') await peer.upgraded();
        const { id } = peer;
        await peer.ask('join', 'kept');
        peer.emit('echo', 'so that there is an offset');
        assert.deepEqual(withoutOffset(await peer.take('echo')), ['so that there is an offset']);
        peer.engine.close();
        await peer.take('(disconnect)');
        for (let index = 0; index < 10; index += 1) other.emit('room', 'kept', index);
        for (let index = 10; index < 20; index += 1) other.emit('castall', Buffer.from([index]));
        await other.settle();
        await peer.take('(connect)');
        assert.equal(peer.socket.recovered, true);
        assert.equal(peer.id, id);
        const [me] = await peer.ask('whoami');
        assert.deepEqual([me.recovered, me.rooms], [true, [id, 'kept'].sort()]);
        for (let index = 0; index < 10; index += 1) {
          assert.deepEqual(withoutOffset(await peer.take('room')), ['kept', index]);
        }
        for (let index = 10; index < 20; index += 1) {
          assert.deepEqual([...withoutOffset(await peer.take('castall'))[0]], [index]);
        }
        await peer.settle();
        assert.equal(peer.count('room') + peer.count('castall'), 0, 'nothing twice');
      });

      test('hears what was sent to it alone', async (t) => {
        const options = { url: recoveryBase, transports, reconnection: true, reconnectionDelay: 600 };
        const peer = await connect(t, client, options);
        peer.emit('echo', 0);
        await peer.take('echo');
        peer.emit('later', 200, 'patience');
        await peer.settle();
        peer.engine.close();
        await peer.take('(connect)');
        await until(() => peer.socket.connected, 'the second connect');
        assert.deepEqual(withoutOffset(await peer.take('later')), ['patience']);
      });

      test('a clean goodbye is final', async (t) => {
        const peer = await connect(t, client, { url: recoveryBase, transports });
        const { id } = peer;
        peer.emit('echo', 0);
        await peer.take('echo');
        peer.socket.disconnect();
        peer.socket.connect();
        await peer.take('(connect)');
        assert.equal(peer.socket.recovered, false);
        assert.notEqual(peer.id, id);
      });
    });
  }
}

// The server ends, and the next process with the same store goes on. A client that was cut before hears everything that
// another one has heard until the end, and nothing twice.
for (const client of able) {
  for (const [how, signal] of [['was killed', 'SIGKILL'], ['was asked to go', 'SIGTERM']]) {
    test(`${client.version} is recovered by the next process when the server ${how}`, { timeout: 120_000 }, async (t) => {
      const store = await mkdtemp(path.join(tmpdir(), 'sio-store-'));
      t.after(() => rm(store, { recursive: true, force: true }));
      const server = await OwnServer.start(t, ['--store', store]);
      const url = `http://127.0.0.1:${server.port + 2}`;
      const options = { url, transports: TRANSPORTS.websocket, reconnection: true };
      const peer = await connect(t, client, { ...options, reconnectionDelay: 1500, reconnectionDelayMax: 1500, randomizationFactor: 0 });
      const witness = await connect(t, client, { ...options, reconnectionDelayMax: 500 });
      const ids = [peer.id, witness.id];
      await peer.ask('join', 'kept');
      witness.emit('numbered', 1000, 2);
      const heard = [withoutOffset(await peer.take('num'))[0]];
      peer.engine.close();
      await peer.take('(disconnect)');
      const seen = [];
      while (seen.length < 100) seen.push(withoutOffset(await witness.take('num'))[0]);
      await server.end(signal);
      await server.begin();
      await Promise.all([peer, witness].map((one) => one.take('(connect)', 30_000)));
      assert.deepEqual([peer.id, witness.id], ids);
      assert.deepEqual([peer.socket.recovered, witness.socket.recovered], [true, true]);
      assert.deepEqual((await peer.ask('whoami'))[0].rooms, [peer.id, 'kept'].sort());
      await Promise.all([peer.settle(), witness.settle()]);
      while (witness.count('num') > 0) seen.push(withoutOffset(await witness.take('num'))[0]);
      while (peer.count('num') > 0) heard.push(withoutOffset(await peer.take('num'))[0]);
      const all = (last) => Array.from({ length: last }, (_, index) => index + 1);
      assert.deepEqual(seen, all(seen.length), 'the one that was there');
      assert.deepEqual(heard, all(seen.length), 'the one that was cut');
    });
  }
}

for (const client of unable) {
  test(`${client.version} knows nothing of recovery and simply connects anew`, async (t) => {
    const peer = await connect(t, client, { url: recoveryBase, transports: ['websocket'], reconnection: true });
    const { id } = peer;
    peer.emit('echo', 0);
    await peer.take('echo');
    peer.engine.close();
    await peer.take('(connect)');
    assert.equal((await peer.ask('whoami'))[0].recovered, false);
    assert.notEqual(peer.id, id);
  });
}
