// TLS: genuine clients that trust the server's certificate can connect over https and wss, on both runtimes. Other clients cannot.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import tls from 'node:tls';
import { clients, newest, TRANSPORTS } from './lib/clients.mjs';
import { connect, start } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

const port = Number(process.env.SIO_TLS_PORT);
const ca = readFileSync(process.env.SIO_TLS_CA);
const RUNTIMES = [
  ['tokio', port],
  ['async-std', port + 1],
];

for (const [runtime, port] of RUNTIMES) {
  const url = `https://127.0.0.1:${port}`;

  for (const client of clients) {
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
      test(`${client.version} over ${name}, on ${runtime}`, async (t) => {
        const peer = await connect(t, client, { url, ca, transports });
        if (name === 'upgrade') await peer.upgraded();
        assert.deepEqual(await peer.ask('secure'), [true]);
        for (const size of [0, 20_000, 900_000]) {
          peer.emit('echo', size, 'x'.repeat(size));
          assert.deepEqual(await peer.take('echo'), [size, 'x'.repeat(size)]);
        }
      });
    }
  }

  for (const transports of [TRANSPORTS.polling, TRANSPORTS.websocket]) {
    test(`who does not know the certificate stays outside, over ${transports}, on ${runtime}`, async (t) => {
      const peer = start(t, newest, { url, transports });
      await peer.take('(connect_error)');
      assert.equal(peer.count('(connect)'), 0);
    });
  }

  test(`HTTP/1.1 is what is agreed on, on ${runtime}`, async () => {
    const socket = tls.connect({ port, host: '127.0.0.1', ca, ALPNProtocols: ['h2', 'http/1.1'] });
    try {
      await within(new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject)), 'the handshake');
      assert.equal(socket.alpnProtocol, 'http/1.1');
      assert.match(socket.getProtocol(), /^TLSv1\.[23]$/);
    } finally {
      socket.destroy();
    }
  });
}
