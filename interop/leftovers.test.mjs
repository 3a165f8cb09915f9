// Old clients leave no session and no descriptor behind, however they leave.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { request } from './lib/http.mjs';
import { isBack, level, PATIENCE } from './lib/level.mjs';
import { colonHandshake, tildePolling } from './lib/old-wire.mjs';
import { connectOld, OLD_RELEASES, OLD_TRANSPORTS, openOldPage } from './lib/page-peer.mjs';
import { RawSocket } from './lib/rawsocket.mjs';
import { Relay } from './lib/relay.mjs';
import { base, stats } from './lib/target.mjs';
import { until } from './lib/wait.mjs';

const browser = sharedBrowser();

/** Clients of every old release over every transport, with one page for each release. */
async function oldCrowd(t, { releases = OLD_RELEASES, transports = OLD_TRANSPORTS, url } = {}) {
  const crowds = releases.map(async (release) => {
    const page = await openOldPage(t, browser, release);
    return Promise.all(transports.map((transport) => connectOld(t, page, release, transport, { url })));
  });
  return (await Promise.all(crowds)).flat();
}

const [OLDEST, ...NEWER] = OLD_RELEASES;

/** The ways to leave, and the clients that use each. */
const WAYS_TO_GO = [
  // The client of 0.6 goes on polling by script after it has disconnected, as long as its page is open. Each poll opens
  // a new session.
  ['the client disconnects', [{ releases: NEWER }, { releases: [OLDEST], transports: ['websocket', 'xhr-polling'] }], (peer) => peer.close()],
  ['the server says bye', [{ releases: NEWER }], (peer) => peer.emit('bye')],
  ['the server says bye to everything', [{ releases: NEWER }], (peer) => peer.emit('bye-all')],
  ['the beacon', [{ releases: NEWER.slice(-1) }], (peer) => peer.beacon()],
  ['the page of a websocket is closed', [{ transports: ['websocket'] }], (peer) => peer.page.close()],
];

for (const [how, who, go] of WAYS_TO_GO) {
  test(`nothing is left after ${how}`, async (t) => {
    const start = await level();
    const crowd = (await Promise.all(who.map((some) => oldCrowd(t, some)))).flat();
    assert.equal((await stats()).sessions, crowd.length);
    await Promise.all(crowd.map(go));
    await until(async () => (await stats()).sessions === 0, `sessions gone after ${how}`, 30_000);
    // Browsers keep connections alive as long as their pages are open.
    for (const page of new Set(crowd.map((peer) => peer.page))) await page.context().close();
    await isBack(start, how, 20_000);
  });
}

test('nothing is left after all those who say no goodbye', { timeout: 240_000 }, async (t) => {
  const start = await level();
  const relay = await Relay.start(t);
  const lost = await oldCrowd(t, { url: relay.base });
  const closed = await oldCrowd(t, { transports: ['xhr-polling', 'jsonp-polling'] });
  const silent = [];
  for (let count = 0; count < 5; count += 1) {
    await colonHandshake();
    await tildePolling();
    silent.push(new RawSocket('/socket.io/websocket'), new RawSocket(`/socket.io/1/websocket/${await colonHandshake()}`));
    await request('GET', `${base}/socket.io/1/jsonp-polling/${await colonHandshake()}?i=0`);
  }
  t.after(() => silent.forEach((socket) => socket.cut()));
  assert.ok((await stats()).sessions >= lost.length + closed.length + 25);
  relay.cut();
  for (const page of new Set([...lost, ...closed].map((peer) => peer.page))) await page.context().close();
  await isBack(start, 'those who say no goodbye', PATIENCE + 30_000);
});
