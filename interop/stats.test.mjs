// Clients leave nothing behind, however they leave.

import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { clients, mixedCrowd, newest, TRANSPORTS } from './lib/clients.mjs';
import { connect, start } from './lib/peer.mjs';
import { base, port, startLevel, stats } from './lib/target.mjs';
import { until, within } from './lib/wait.mjs';
import { handshake, request } from './lib/http.mjs';

const emptied = (how) => until(async () => (await stats()).sessions === 0, `sessions gone after ${how}`, 20_000);

const WAYS_TO_GO = [
  ['the client disconnects', (peer) => peer.socket.disconnect()],
  ['the client closes the connection', (peer) => peer.engine.close()],
  ['the server says bye to everything', (peer) => peer.emit('bye-all')],
  ['the answer to a refusal', null],
];

test('the numbers are there and make sense', async () => {
  const now = await startLevel();
  assert.equal(typeof now.server, 'string');
  assert.ok(now.server.length > 0);
  assert.ok(Number.isInteger(now.pid) && now.pid > 1);
  assert.ok(Number.isInteger(now.rss) && now.rss > 100_000 && now.rss < 2 ** 33, `${now.rss} bytes`);
  assert.equal(now.sessions, 0);
});

test('/__stats honours Connection: close', async () => {
  const socket = net.connect(port, '127.0.0.1');
  let answer = '';
  const closed = new Promise((resolve, reject) => socket.on('close', resolve).on('error', reject));
  socket.on('data', (chunk) => { answer += chunk; });
  socket.write(`GET /__stats HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
  await within(closed, 'the server to close the connection', 2000);
  assert.match(answer, /^HTTP\/1\.1 200 /);
});

for (const [how, go] of WAYS_TO_GO) {
  test(`no session is left after ${how}`, async (t) => {
    await startLevel();
    if (go === null) {
      const refused = mixedCrowd().map(({ client, transports }) => start(t, client, { transports, token: 'reject' }));
      await Promise.all(refused.map((peer) => peer.take(peer.client.revision === 5 ? '(connect_error)' : '(error)')));
      refused.forEach((peer) => peer.socket.disconnect());
      refused.forEach((peer) => peer.engine?.close());
    } else {
      const every = clients.flatMap((client) =>
        Object.values(TRANSPORTS).map((transports) => connect(t, client, { transports })),
      );
      const peers = await Promise.all(every);
      assert.equal((await stats()).sessions, peers.length);
      peers.forEach(go);
    }
    await emptied(how);
  });
}

test('no session is left after handshakes nobody follows up', async () => {
  await startLevel();
  for (let count = 0; count < 20; count += 1) await handshake({ eio: 3 + (count % 2) });
  assert.equal((await stats()).sessions, 20);
  await emptied('twenty handshakes');
});

test('no session is left after cut connections', async (t) => {
  await startLevel();
  const peers = await Promise.all(
    Array.from({ length: 10 }, () => connect(t, newest, { transports: TRANSPORTS.websocket })),
  );
  for (const peer of peers) peer.engine.transport.ws._socket.destroy();
  await emptied('cut sockets');
});

test('five hundred come and go', async (t) => {
  await startLevel();
  for (let wave = 0; wave < 5; wave += 1) {
    const peers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        connect(t, newest, { transports: index % 2 === 0 ? TRANSPORTS.websocket : TRANSPORTS.upgrade }),
      ),
    );
    await Promise.all(peers.map((peer) => peer.settle()));
    await Promise.all(peers.map((peer) => peer.close()));
  }
  await emptied('five waves');
  assert.equal((await request('GET', `${base}/__stats`)).status, 200);
});
