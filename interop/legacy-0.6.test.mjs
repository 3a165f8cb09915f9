// The genuine browser client of Socket.IO 0.6.18 (2011), in today's Chromium, against the same port as everybody else.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { openPage, sharedBrowser } from './lib/browser.mjs';
import { base, stats } from './lib/target.mjs';
import { sleep, until } from './lib/wait.mjs';

const bundle = readFileSync(new URL('../clients/0.6.18/socket.io.js', import.meta.url), 'utf8');

/** The client's own patience: without a word from the server for so long it gives the connection up. */
const RECEIVE_TIMEOUT = { websocket: 15_000, 'xhr-polling': 25_000 };

const browser = sharedBrowser();

/** A page of the server's own origin with the client in it, connected over `transport`. */
async function connect(t, transport) {
  const page = await openPage(t, browser);
  // Any document of the server's own will do. One made up by the test would count as foreign to the local network, and
  // Chromium would not let it open a websocket.
  await page.goto(`${base}/__stats`);
  await page.addScriptTag({ content: bundle });
  await page.evaluate((name) => {
    window.heard = [];
    window.story = [];
    const socket = new window.io.Socket(null, { rememberTransport: false, transports: [name] });
    socket.on('connect', () => window.story.push('connect'));
    socket.on('disconnect', () => window.story.push('disconnect'));
    socket.on('message', (message) => window.heard.push(message));
    socket.connect();
    window.socket = socket;
  }, transport);
  const client = new OldClient(page);
  await until(async () => (await client.story()).length > 0, `0.6.18 connects over ${transport}`);
  assert.deepEqual(await client.story(), ['connect']);
  assert.equal(await page.evaluate(() => window.socket.transport.type), transport);
  return client;
}

class OldClient {
  constructor(page) {
    this.page = page;
  }

  send(...messages) {
    return this.page.evaluate((list) => list.forEach((message) => window.socket.send(message)), messages);
  }

  heard() {
    return this.page.evaluate(() => window.heard);
  }

  story() {
    return this.page.evaluate(() => window.story);
  }

  sessionId() {
    return this.page.evaluate(() => window.socket.transport.sessionid);
  }

  /** Waits for that many messages and returns all there are. */
  async hears(count) {
    await until(async () => (await this.heard()).length >= count, `${count} messages`);
    return this.heard();
  }
}

const TEXTS = ['hello', '', ' ', 'thré♥e', '😀 𝒳 a😀b', '~m~3~m~abc', 'line\nfeed\r\n', '\u0000\u001f\u2028', 'a+b c%20&d=e', '"\\/'];
const OBJECTS = [{ a: 1 }, { nested: { list: [1, null, 'é😀', {}] } }, { text: '~m~1~m~x' }, {}];

for (const transport of ['websocket', 'xhr-polling']) {
  describe(`0.6.18 over ${transport}`, { concurrency: 3 }, () => {
    test('text comes back as it went', async (t) => {
      const client = await connect(t, transport);
      for (const text of TEXTS) await client.send(text);
      assert.deepEqual(await client.hears(TEXTS.length), TEXTS);
    });

    test('JSON comes back as JSON', async (t) => {
      const client = await connect(t, transport);
      for (const object of OBJECTS) await client.send(object);
      assert.deepEqual(await client.hears(OBJECTS.length), OBJECTS);
    });

    test('a burst keeps its order', async (t) => {
      const client = await connect(t, transport);
      const burst = Array.from({ length: 500 }, (_, index) => `😀 ${index}`);
      await client.send(...burst);
      assert.deepEqual(await client.hears(burst.length), burst);
    });

    test('100 000 characters', async (t) => {
      const client = await connect(t, transport);
      const long = '€😀'.repeat(33_333);
      await client.send(long);
      assert.ok((await client.hears(1))[0] === long);
    });

    test('the session id is letters and digits', async (t) => {
      const client = await connect(t, transport);
      assert.match(await client.sessionId(), /^[0-9A-Za-z]{8,}$/);
    });

    test('a lost connection is made anew', async (t) => {
      const client = await connect(t, transport);
      const first = await client.sessionId();
      await client.page.evaluate(() => {
        const { transport: { socket, xhr } } = window.socket;
        if (socket) socket.close();
        else xhr.abort();
      });
      await until(async () => (await client.story()).length === 3, 'the reconnection');
      assert.deepEqual(await client.story(), ['connect', 'disconnect', 'connect']);
      assert.notEqual(await client.sessionId(), first, 'this client always asks for a new session');
      await client.send('again');
      assert.deepEqual(await client.hears(1), ['again']);
    });

    test('stays connected beyond its receive timeout, silent', async (t) => {
      const client = await connect(t, transport);
      await sleep(RECEIVE_TIMEOUT[transport] + 3000);
      await client.send('still here');
      assert.deepEqual(await client.hears(1), ['still here']);
      assert.deepEqual(await client.story(), ['connect']);
    });
  });
}

test('cast: reaches every other client of 0.6, over either transport', async (t) => {
  const clients = await Promise.all(['websocket', 'xhr-polling', 'websocket'].map((transport) => connect(t, transport)));
  for (const [index, speaker] of clients.entries()) {
    await speaker.send(`cast:from ${index} ♥`);
    const others = clients.filter((client) => client !== speaker);
    for (const client of others) {
      await until(async () => (await client.heard()).includes(`cast:from ${index} ♥`), `cast of ${index}`);
    }
  }
  for (const [index, client] of clients.entries()) {
    assert.deepEqual(await client.heard(), [0, 1, 2].filter((other) => other !== index).map((other) => `cast:from ${other} ♥`));
  }
});

test('closed pages leave no session behind', async (t) => {
  const clients = await Promise.all(['websocket', 'xhr-polling'].map((transport) => connect(t, transport)));
  assert.ok((await stats()).sessions >= 2);
  for (const client of clients) await client.page.context().close();
  await until(async () => (await stats()).sessions === 0, 'the sessions to end', 35_000);
});
