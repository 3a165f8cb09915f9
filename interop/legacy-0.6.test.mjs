// The genuine browser client of Socket.IO 0.6.18 (2011), in today's Chromium, over every transport that works there, from pages of the server's own
// origin and of another.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { connectOld, eachOldClient, OLD_RELEASES, OLD_TRANSPORTS, openOldPage } from './lib/page-peer.mjs';
import { OBJECTS, TEXTS } from './lib/texts.mjs';
import { sleep, until } from './lib/wait.mjs';

const RELEASES = OLD_RELEASES.filter((release) => release.family === '0.6');
/** The client's own timeout: if the server sends nothing for this time, the client gives up the connection. */
const RECEIVE_TIMEOUT = { websocket: 15_000, 'xhr-polling': 25_000, 'jsonp-polling': 25_000 };

const browser = sharedBrowser();

const first = ([value]) => value;

function suite({ transport, connect }) {
  // A form can carry only one kind of line break. The server reads it as LF.
  const texts = transport === 'jsonp-polling' ? TEXTS.filter((text) => !text.includes('\r')) : TEXTS;

  test('text comes back as it went', async (t) => {
    const client = await connect(t);
    for (const text of texts) await client.send(text);
    assert.deepEqual((await client.takeAll('message', texts.length)).map(first), texts);
  });

  test('JSON comes back as JSON', async (t) => {
    const client = await connect(t);
    for (const object of OBJECTS) await client.send(object);
    assert.deepEqual((await client.takeAll('message', OBJECTS.length)).map(first), OBJECTS);
  });

  test('an array is a batch, and a number its digits', async (t) => {
    const client = await connect(t);
    await client.send(['one', { two: 2 }, '']);
    await client.send(42);
    await client.send(null);
    assert.deepEqual((await client.takeAll('message', 5)).map(first), ['one', { two: 2 }, '', '42', '']);
  });

  test('a burst keeps its order', async (t) => {
    const client = await connect(t);
    const burst = Array.from({ length: 500 }, (_, index) => `😀 ${index}`);
    await client.send(burst);
    assert.deepEqual((await client.takeAll('message', burst.length)).map(first), burst);
  });

  test('100 000 characters', async (t) => {
    const client = await connect(t);
    const long = 'é€😀'.repeat(25_000);
    await client.send(long);
    assert.ok((await client.take('message'))[0] === long);
  });

  test('the session id is letters and digits', async (t) => {
    const client = await connect(t);
    assert.match(await client.sessionId(), /^[0-9A-Za-z]{8,}$/);
  });

  if (transport !== 'jsonp-polling') {
    test('a lost connection is made anew', async (t) => {
      const client = await connect(t);
      const before = await client.sessionId();
      await client.drop();
      await client.take('disconnect');
      await client.take('connect');
      assert.notEqual(await client.sessionId(), before, 'this client always asks for a new session');
      await client.send('again');
      assert.deepEqual(await client.take('message'), ['again']);
    });
  }

  test('the client disconnects', async (t) => {
    const client = await connect(t);
    await client.close();
    await client.take('disconnect');
    await sleep(400);
    assert.equal(await client.count('connect'), 0);
  });
}

const silent = ({ transport, connect }) => {
  test('stays connected beyond its receive timeout, silent', async (t) => {
    const client = await connect(t);
    await sleep(RECEIVE_TIMEOUT[transport] + 3000);
    await client.send('still here');
    assert.deepEqual(await client.take('message'), ['still here']);
    assert.deepEqual((await client.log()).map(first), ['connect', 'message']);
  });
};

// The silent clients wait while the others run.
describe('0.6', { concurrency: 7 }, () => {
  describe('silent', { concurrency: true }, () => eachOldClient(browser, RELEASES, silent));
  eachOldClient(browser, RELEASES, suite);
});

test('cast: reaches every other client of 0.6, over any transport', async (t) => {
  const [release] = RELEASES;
  const page = await openOldPage(t, browser, release);
  const clients = await Promise.all([...OLD_TRANSPORTS, 'websocket'].map((transport) => connectOld(t, page, release, transport)));
  for (const [index, speaker] of clients.entries()) {
    const words = `cast:from ${index} é€😀♥`;
    await speaker.send(words);
    const others = clients.filter((client) => client !== speaker);
    await until(async () => {
      const counts = await Promise.all(others.map((client) => client.count('message')));
      return counts.every((count) => count === 1);
    }, () => `every other client hears ${words}`);
    for (const client of others) assert.deepEqual(await client.take('message'), [words]);
    assert.equal(await speaker.count('message'), 0, 'who speaks does not hear it');
  }
});
