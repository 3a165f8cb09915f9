// The life and the end of connections: heartbeats, disconnects with their reasons, reconnections.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eachClient } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';
import { settings } from './lib/target.mjs';
import { sleep } from './lib/wait.mjs';

const HEARTBEATS = 6;

const suite = (client, transports) => {
  test('stays up over six heartbeats, talking', async (t) => {
    const peer = await connect(t, client, { transports });
    for (let tick = 0; tick < HEARTBEATS * 2; tick += 1) {
      await sleep(settings.pingInterval / 2);
      assert.deepEqual(await peer.ask('echo-ack', tick), [tick]);
    }
    assert.equal(peer.count('(disconnect)'), 0);
  });

  test('stays up over six heartbeats, silent', async (t) => {
    const peer = await connect(t, client, { transports });
    await sleep(settings.pingInterval * HEARTBEATS);
    assert.deepEqual(peer.log, [['(connect)']]);
    await peer.settle();
  });

  test('bye: the server closes one namespace and leaves the other open', async (t) => {
    const root = await connect(t, client, { transports, reconnection: true });
    const tenant = root.also('/tenant-20');
    await tenant.take('(connect)');
    root.emit('echo', 'before');
    root.emit('bye');
    assert.deepEqual(await root.take('echo'), ['before']);
    assert.deepEqual(await root.take('(disconnect)'), ['io server disconnect']);
    await tenant.settle();
    assert.equal(tenant.count('(disconnect)'), 0);
    assert.equal(root.count('(connect)'), 0, 'a client told to go does not come back by itself');
  });

  test('bye-all: the server closes the connection, and what it said before arrives', async (t) => {
    const root = await connect(t, client, { transports, reconnection: true });
    const tenant = root.also('/tenant-21');
    await tenant.take('(connect)');
    root.emit('burst', 50, 10);
    root.emit('bye-all');
    assert.deepEqual(await root.take('burst-end'), [50]);
    assert.deepEqual(await root.take('(disconnect)'), ['io server disconnect']);
    assert.deepEqual(await tenant.take('(disconnect)'), ['io server disconnect']);
    await sleep(200);
    assert.equal(root.count('(connect)'), 0, 'a client told to go does not come back by itself');
    root.socket.connect();
    await root.take('(connect)');
    await root.settle();
  });

  test('the client disconnects', async (t) => {
    const peer = await connect(t, client, { transports, reconnection: true });
    peer.socket.disconnect();
    assert.deepEqual(await peer.take('(disconnect)'), ['io client disconnect']);
    await sleep(200);
    assert.equal(peer.count('(connect)'), 0);
  });

  test('the connection is cut: the client comes back and nothing it said meanwhile is lost', async (t) => {
    const peer = await connect(t, client, { transports, reconnection: true });
    const before = peer.id;
    for (let round = 0; round < 3; round += 1) {
      peer.engine.close();
      assert.deepEqual(await peer.take('(disconnect)'), ['forced close']);
      for (let index = 0; index < 20; index += 1) peer.emit('echo', round, index);
      await peer.take('(connect)');
      for (let index = 0; index < 20; index += 1) assert.deepEqual(await peer.take('echo'), [round, index]);
    }
    await peer.settle();
    assert.equal(peer.count('echo'), 0);
    assert.notEqual(peer.id, before, 'a new connection has a new id');
  });

  test('both namespaces come back after a cut', async (t) => {
    const root = await connect(t, client, { transports, reconnection: true });
    const tenant = root.also('/tenant-22');
    await tenant.take('(connect)');
    root.engine.close();
    await Promise.all([root.take('(disconnect)'), tenant.take('(disconnect)')]);
    await Promise.all([root.take('(connect)'), tenant.take('(connect)')]);
    await Promise.all([root.settle(), tenant.settle()]);
  });
};

// These tests mostly wait, so a few clients run at the same time. They all begin at once, and one program runs them: with
// more of them, it is busy for longer than a heartbeat may take on a slow machine.
describe('lifecycle', { concurrency: 3 }, () => eachClient(suite, { concurrency: true }));
