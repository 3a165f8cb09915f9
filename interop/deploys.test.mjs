// A new process takes over the ports of the old one, which is asked to go. Nobody is refused a connection, and clients
// of every generation come back by themselves.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { all, everybody } from './lib/everybody.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { sleep } from './lib/wait.mjs';

const browser = sharedBrowser();

/** Opens a session over a connection of its own. The result is the status, or the code of the error. */
const knock = (base) => new Promise((resolve) => {
  const request = http.get(`${base}/socket.io/?EIO=4&transport=polling`, { agent: false }, (answer) => {
    answer.resume();
    answer.on('end', () => resolve(answer.statusCode));
    answer.on('error', (error) => resolve(error.code));
  });
  request.on('error', (error) => resolve(error.code));
});

/** Strangers who come one after the other until `stop` is called, which returns how many got which answer. */
function strangers(base) {
  const answers = {};
  let going = true;
  const gone = (async () => {
    while (going) {
      const answer = await knock(base);
      answers[answer] = (answers[answer] ?? 0) + 1;
      await sleep(5);
    }
  })();
  return {
    stop: async () => {
      going = false;
      await gone;
      return answers;
    },
  };
}

test('the next process takes over the ports, nobody is refused, and everybody comes back', { timeout: 240_000 }, async (t) => {
  const server = await OwnServer.start(t, ['--handover']);
  const crowd = await everybody(t, browser, server.base);
  const coming = strangers(server.base);
  const asked = performance.now();
  await server.replace();
  await all(crowd, (one) => one.gone());
  await all(crowd, (one) => one.back());
  const took = Math.round(performance.now() - asked);
  const { 200: served = 0, 503: toldOff = 0, ECONNRESET: reset = 0, ...others } = await coming.stop();
  t.diagnostic(`${crowd.length} clients were back after ${took} ms; ${served} strangers were served meanwhile, ${toldOff} were told to come again, ${reset} cut`);
  assert.deepEqual(others, {}, 'nobody is refused');
  // Linux resets the connection that it completes between the last accept of the old process and the end of its socket
  // (docs/deploy.md). The strangers come one after the other, so there is at most one.
  assert.ok(reset <= 1, `${reset} strangers were cut`);
  assert.ok(served > 20, `${served} strangers were served`);
  // Only those who were in the queue of the old process at that moment.
  assert.ok(toldOff < 20, `${toldOff} strangers were told to come again`);
  await all(crowd, (one) => one.speaks());
});
