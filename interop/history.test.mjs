// Histories of rooms: a page that is loaded again in the middle of an answer, and genuine clients that lose their connections. Each gets
// every token once and in order.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openPage, sharedBrowser } from './lib/browser.mjs';
import { mixedCrowd, newest, TRANSPORTS } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';
import { sleep, until } from './lib/wait.mjs';

const port = Number(process.env.SIO_STREAM_PORT);
if (!Number.isInteger(port) || port <= 0) {
  throw new Error('SIO_STREAM_PORT must name the port of a running stream example; `cargo xtask interop` sets it');
}
const url = `http://127.0.0.1:${port}`;
const browser = sharedBrowser();

/** The text that the server has kept, which is the whole text when the answer is written. */
const kept = async (room) => (await fetch(`${url}/text/${room}`, { signal: AbortSignal.timeout(5000) })).text();

const numbers = (text) => text.split(' ').filter((word) => /^\d+$/.test(word)).map(Number);
const all = Array.from({ length: 400 }, (_, number) => number);

test('a page that is loaded again in the middle shows the whole answer once', { timeout: 120_000 }, async (t) => {
  const page = await openPage(t, browser);
  await page.goto(url);
  await page.waitForFunction(() => document.readyState === 'complete');
  await until(async () => {
    // Once: a click before its script has run loads the page again, and then the next one follows.
    const click = () => {
      const go = document.getElementById('go');
      if (!location.hash && !go.disabled) go.click();
    };
    await page.evaluate(click).catch(() => {});
    return page.url().includes('#answer-');
  }, 'the answer to begin', 10_000);
  const room = new URL(page.url()).hash.slice(1);
  const seen = async () => numbers(await page.locator('#answer').textContent());
  let before = 0;
  for (let round = 0; round < 5; round += 1) {
    await until(async () => (await seen()).length > before + 20, 'more tokens', 15_000);
    before = (await seen()).length;
    await page.reload();
    // What the page had is there again. On a busy machine the browser says that a page is loaded before its script has run.
    await until(async () => (await seen()).length >= before, `${before} tokens after a reload`, 5_000);
  }
  assert.ok(before < 400, 'the page was loaded again while the answer was written');
  await page.locator('#state[data-state="done"]').waitFor({ timeout: 60_000 });
  assert.deepEqual(await seen(), all);
  assert.equal(await page.locator('#answer').textContent(), await kept(room));

  // Another device has nothing, and asks for everything.
  const other = await openPage(t, browser);
  await other.goto(`${url}/#${room}`);
  await other.locator('#state[data-state="done"]').waitFor();
  assert.equal(await other.locator('#answer').textContent(), await kept(room));
});

const cases = [
  ...Object.entries(TRANSPORTS).map(([name, transports]) => ({ name, transports, client: newest })),
  ...mixedCrowd().slice(1).map(({ client, transports }) => ({ name: transports.join(), transports, client })),
];

describe('while its connection is cut again and again', { concurrency: true }, () => {
  for (const { name, transports, client } of cases) {
    test(`${client.version} over ${name} misses nothing`, { timeout: 120_000 }, async (t) => {
      const options = { url, transports, reconnection: true, reconnectionDelay: 150, reconnectionDelayMax: 150 };
      const peer = await connect(t, client, options);
      let [text, place, done] = ['', null, false];
      const marks = [];
      peer.socket.on('token', (token, at) => { text += token; place = at; });
      peer.socket.on('done', () => { done = true; });
      peer.socket.on('history', (mark) => { marks.push(mark.state); place = mark.at; });
      const [room] = await peer.ask('ask');
      peer.socket.on('connect', () => peer.emit('follow', room, place));
      peer.emit('follow', room, place);
      let cuts = 0;
      while (!done) {
        await sleep(250);
        if (done || cuts >= 8) continue;
        cuts += 1;
        peer.engine.close();
        await until(() => peer.socket.connected, 'to come back', 10_000);
      }
      assert.ok(cuts >= 5, `${cuts} cuts`);
      assert.deepEqual(numbers(text), all);
      assert.equal(text, await kept(room));
      assert.ok(marks.length > cuts && marks.every((state) => state === 'ready'), marks.join());
    });
  }
});

test('an unknown place is told, and a client begins again', async (t) => {
  const peer = await connect(t, newest, { url });
  const [room] = await peer.ask('ask');
  await until(async () => numbers(await kept(room)).length > 3, 'some tokens');
  const [resumed] = await peer.ask('follow', room, 'zzz-12');
  assert.equal(resumed.truncated, true);
  assert.equal((await peer.take('history'))[0].state, 'truncated');
  assert.equal((await peer.take('token'))[0].split(' ')[0], '0');
});

test('a room without history and a text that is no place are refused', async (t) => {
  const peer = await connect(t, newest, { url });
  assert.ok((await peer.ask('follow', 'other', null))[0].error);
  assert.ok((await peer.ask('follow', 'answer-0', 'nonsense'))[0].error);
});
