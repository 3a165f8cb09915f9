// The server ends and another one takes its place, as after an update or a crash. Clients of every generation reconnect
// by themselves, to a server that knows none of their sessions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { all, everybody } from './lib/everybody.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { sleep } from './lib/wait.mjs';

const browser = sharedBrowser();

for (const [how, signal, code] of [['is asked to go', 'SIGTERM', 0], ['crashes', 'SIGKILL', null]]) {
  test(`a server ${how}, and everybody comes back to the next one`, { timeout: 240_000 }, async (t) => {
    const server = await OwnServer.start(t);
    const crowd = await everybody(t, browser, server.base);
    assert.equal(await server.end(signal), code);
    await sleep(500);
    await server.begin();
    await all(crowd, (one) => one.gone());
    await all(crowd, (one) => one.back());
    await all(crowd, (one) => one.speaks());
  });
}
