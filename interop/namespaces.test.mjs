// Namespaces, and which clients may enter them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachClient } from './lib/clients.mjs';
import { connect, refusal, start } from './lib/peer.mjs';

/** The refusal that a client gets: revision 5 gets a message and data, older revisions get one payload. */
const refused = (client, message, data) => (client.revision === 5 ? { message, data } : { data: data ?? message });

eachClient((client, transports) => {
  test('/ refuses the token "reject"', async (t) => {
    const peer = start(t, client, { transports, token: 'reject' });
    assert.deepEqual(await refusal(peer), refused(client, 'not authorized', { code: 401 }));
    assert.equal(peer.count('(connect)'), 0);
  });

  test('/ accepts any other token', async (t) => {
    const peer = await connect(t, client, { transports, token: 'thré♥e' });
    // An older client sends its token in the URL; a newer client sends it in the CONNECT packet.
    assert.equal((await peer.ask('whoami'))[0].token, 'thré♥e');
  });

  test('/ takes its time over the token "slow", and nothing sent meanwhile is lost', async (t) => {
    const began = Date.now();
    const peer = start(t, client, { transports, token: 'slow' });
    for (let index = 0; index < 5; index += 1) peer.emit('echo', index);
    await peer.take('(connect)');
    assert.ok(Date.now() - began >= 290, 'accepted after 300 ms');
    for (let index = 0; index < 5; index += 1) assert.deepEqual(await peer.take('echo'), [index]);
  });

  for (const token of [undefined, '', 'Secret', 'secret ']) {
    test(`/admin refuses ${JSON.stringify(token) ?? 'no token'}`, async (t) => {
      const peer = start(t, client, { transports, ns: '/admin', token });
      assert.deepEqual(await refusal(peer), refused(client, 'forbidden', { need: 'secret' }));
    });
  }

  test('/admin accepts the secret', async (t) => {
    const peer = await connect(t, client, { transports, ns: '/admin', token: 'secret' });
    const [me] = await peer.ask('whoami');
    assert.deepEqual([me.ns, me.token, me.rooms], ['/admin', 'secret', [peer.id]]);
  });

  test('an unknown namespace is invalid', async (t) => {
    for (const ns of ['/nope', '/tenant-', '/tenant-1x', '/xtenant-1', '/Admin']) {
      const peer = start(t, client, { transports, ns });
      assert.deepEqual(await refusal(peer), refused(client, 'Invalid namespace', undefined), ns);
    }
  });

  test('a refusal leaves the other namespaces of the connection alone', async (t) => {
    const peer = await connect(t, client, { transports });
    const refusedPeer = peer.also('/admin');
    assert.deepEqual(await refusal(refusedPeer), refused(client, 'forbidden', { need: 'secret' }));
    await peer.settle();
    assert.equal(peer.count('(disconnect)'), 0);
  });

  test('tenants do not hear each other', async (t) => {
    const [first, second, third] = await Promise.all(
      ['/tenant-1', '/tenant-1', '/tenant-2'].map((ns) => connect(t, client, { transports, ns })),
    );
    first.emit('cast', 'for tenant 1');
    assert.deepEqual(await second.take('cast'), ['for tenant 1']);
    await Promise.all([first.settle(), third.settle()]);
    assert.equal(first.count('cast') + third.count('cast'), 0);
  });

  test('several namespaces share one connection and keep apart', async (t) => {
    const root = await connect(t, client, { transports });
    const tenants = [root.also('/tenant-10'), root.also('/tenant-11')];
    await Promise.all(tenants.map((tenant) => tenant.take('(connect)')));
    const all = [root, ...tenants];
    all.forEach((peer, index) => peer.emit('echo', index));
    const answers = await Promise.all(all.map((peer) => peer.take('echo')));
    assert.deepEqual(answers, [[0], [1], [2]]);
    assert.equal(new Set(all.map((peer) => peer.id)).size, 3, 'one id for each');
    all.forEach((peer) => assert.equal(peer.count('echo'), 0));
  });

  test('leaving one namespace leaves the others open', async (t) => {
    const root = await connect(t, client, { transports });
    const tenant = root.also('/tenant-12');
    await tenant.take('(connect)');
    tenant.socket.disconnect();
    assert.deepEqual(await tenant.take('(disconnect)'), ['io client disconnect']);
    await root.settle();
    assert.equal(root.count('(disconnect)'), 0);
    tenant.socket.connect();
    await tenant.take('(connect)');
    await tenant.settle();
  });

  // Before 1.4 a client could not send a query with a namespace.
  if (client.revision === 4 && client.version !== '1.3.7') {
    test('the query of the namespace carries a token', async (t) => {
      const peer = await connect(t, client, { transports, ns: '/admin?token=secret' });
      assert.equal((await peer.ask('whoami'))[0].ns, '/admin');
    });
  }

  if (client.revision === 5) {
    test('auth may be asked for at each connect', async (t) => {
      let asked = 0;
      const peer = start(t, client, { transports, ns: '/admin', auth: (give) => give({ token: ['no', 'secret'][asked++] }) });
      assert.equal((await refusal(peer)).message, 'forbidden');
      peer.socket.connect();
      await peer.take('(connect)');
      assert.equal(asked, 2);
    });
  }
});
