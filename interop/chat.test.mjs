// The chat example in a browser: today's page and the genuine client of 2011 meet in one room.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openPage, sharedBrowser } from './lib/browser.mjs';
import { mixedCrowd } from './lib/clients.mjs';
import { connect } from './lib/peer.mjs';

const port = Number(process.env.SIO_CHAT_PORT);
if (!Number.isInteger(port) || port <= 0) {
  throw new Error('SIO_CHAT_PORT must name the port of a running chat example; `cargo xtask interop` sets it');
}
const base = `http://127.0.0.1:${port}`;
const OLD = '0.6.18';

const browser = sharedBrowser();

/** Opens the chat page, and waits until its client is in the room. */
async function chat(t, name, transport) {
  const page = await openPage(t, browser);
  await page.goto(`${base}/?${new URLSearchParams({ name, transport })}`);
  await page.waitForFunction(() => window.__chat?.state === 'connected');
  return page;
}

/** The frame of one old client, on the page with all generations. */
async function generation(t, version, query) {
  const page = await openPage(t, browser);
  await page.goto(`${base}/generations?${query}`);
  const frame = page.frameLocator(`iframe[title="Socket.IO ${version}"]`);
  await frame.locator('#state[data-state="connected"]').waitFor();
  return { page, frame };
}

const said = (place, text) => place.locator('#messages').getByText(text, { exact: true });

async function say(place, text) {
  await place.locator('#text').fill(text);
  await place.locator('#text').press('Enter');
}

test('the old client says hello by itself, and the page of today hears it', async (t) => {
  const page = await chat(t, 'Ada', 'upgrade');
  await generation(t, OLD, 'autosay=1');
  await said(page, `Hello, I am Socket.IO ${OLD}.`).first().waitFor();
});

for (const transport of ['polling', 'websocket', 'upgrade']) {
  test(`each sees what the other writes, the page over ${transport}`, async (t) => {
    const page = await chat(t, `Ada ${transport}`, transport);
    const { frame } = await generation(t, OLD, '');
    const words = `from today over ${transport}: thré♥e 😀 <b>&amp;</b>`;
    await say(page, words);
    await said(frame, words).waitFor();
    const answer = `from 2011 to ${transport}: ♥ 😀 <i>`;
    await say(frame, answer);
    await said(page, answer).waitFor();
    await said(page, words).waitFor();
    assert.equal(await said(page, words).count(), 1, 'what I say appears once');
    assert.equal(await said(frame, answer).count(), 1, 'and so does what the other says');
  });
}

test('each hears each: the page of today, a frame of every release, and clients on Node', { timeout: 240_000 }, async (t) => {
  const page = await chat(t, 'Lin', 'upgrade');
  const response = await fetch(`${base}/generations.json`, { signal: AbortSignal.timeout(5000) });
  const offered = (await response.json()).map((one) => one.generation);
  const { page: all } = await generation(t, OLD, '');
  const frames = offered.map((version) => [version, all.frameLocator(`iframe[title="Socket.IO ${version}"]`)]);
  for (const [, frame] of frames) await frame.locator('#state[data-state="connected"]').waitFor();
  const peers = await Promise.all(mixedCrowd().map(({ client, transports }) => connect(t, client, { url: base, transports })));
  for (const peer of peers) await peer.ask('hello', { name: `Node ${peer.client.version}` });
  const speakers = [
    ['the page', (text) => say(page, text)],
    ...frames.map(([version, frame]) => [`the frame of ${version}`, (text) => say(frame, text)]),
    ...peers.map((peer) => [`${peer.client.version} on Node`, (text) => peer.ask('say', text)]),
  ];
  for (const [name, speak] of speakers) {
    const text = `${name} says é€😀♥ <b>&`;
    await speak(text);
    for (const place of [page, ...frames.map(([, frame]) => frame)]) await said(place, text).waitFor();
    for (const peer of peers) {
      for (let heard; heard !== text;) [{ text: heard }] = await peer.take('entry');
    }
  }
});

test('every client that was fetched is in the room and is heard', async (t) => {
  const page = await chat(t, 'Grace', 'websocket');
  const response = await fetch(`${base}/generations.json`, { signal: AbortSignal.timeout(5000) });
  const offered = (await response.json()).map((one) => one.generation);
  assert.ok(offered.includes(OLD), `${OLD} is among ${offered}`);
  const { page: all } = await generation(t, OLD, 'autosay=1');
  for (const version of offered) await said(page, `Hello, I am Socket.IO ${version}.`).first().waitFor();
  await say(page, 'Welcome, everybody');
  for (const version of offered) {
    await said(all.frameLocator(`iframe[title="Socket.IO ${version}"]`), 'Welcome, everybody').waitFor();
  }
  if (process.env.SIO_SCREENSHOT) {
    const path = fileURLToPath(new URL('../docs/images/chat.png', import.meta.url));
    await page.screenshot({ path });
    t.diagnostic(`wrote ${path}`);
  }
});
