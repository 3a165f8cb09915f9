// The JSON envelope of Socket.IO 0.3 and 0.4 (docs/protocol/legacy-0.6.md §15), byte by byte.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { plainPolling, plainWebSocket, tilde } from './lib/old-wire.mjs';
import { connect } from './lib/peer.mjs';
import { JSON_VALUES, TEXTS } from './lib/texts.mjs';

/** The messages, each as JSON, so that they can be compared. Heartbeats are left out. */
const messages = (payload) => {
  const { messages: all = [] } = payload === '' ? {} : JSON.parse(payload);
  return all.map((message) => JSON.stringify(message));
};

const ENVELOPE = {
  path: '/envelope',
  read: messages,
  // The first message contains the session id: it is a text, and the text is JSON.
  id: ([first]) => JSON.parse(JSON.parse(first)).sessionid,
};

const connects = { websocket: (t) => plainWebSocket(t, ENVELOPE), 'xhr-polling': () => plainPolling(ENVELOPE) };

for (const [name, open] of Object.entries(connects)) {
  describe(`envelope over ${name}`, { concurrency: true }, () => {
    test('text and JSON come back as they went', async (t) => {
      const session = await open(t);
      for (const value of [...TEXTS, ...JSON_VALUES.filter((one) => typeof one === 'object' && one !== null)]) {
        const wanted = JSON.stringify(value);
        await session.send(`[${wanted}]`);
        assert.deepEqual(await session.hearUntil(wanted), [wanted]);
      }
    });

    test('several messages in one payload keep their order', async (t) => {
      const session = await open(t);
      const burst = Array.from({ length: 200 }, (_, index) => `😀 ${index}`);
      await session.send(JSON.stringify(burst));
      const wanted = burst.map((one) => JSON.stringify(one));
      assert.deepEqual(await session.hearUntil(wanted.at(-1)), wanted);
    });

    for (const bad of ['hello', '{"a":1}', '["unfinished"', '', tilde('hello')]) {
      test(`${JSON.stringify(bad)} is no list, and harms nobody`, async (t) => {
        const [session, other] = [await open(t), await open(t)];
        await session.send(bad).catch((error) => assert.match(error.message, /answered 400/));
        for (const one of [session, other]) {
          await one.send('["alive"]');
          assert.deepEqual(await one.hearUntil('"alive"'), ['"alive"']);
        }
      });
    }
  });
}

test('heartbeats are said and not answered', async (t) => {
  const session = await connects.websocket(t);
  assert.deepEqual(JSON.parse(await session.socket.next()), { heartbeat: '1' });
  assert.deepEqual(JSON.parse(await session.socket.next()), { heartbeat: '2' });
  await session.send('["still here"]');
  await session.hearUntil('"still here"');
});

test('hears what a client of today says', async (t) => {
  const session = await connects['xhr-polling'](t);
  const today = await connect(t, newest, { transports: TRANSPORTS.websocket });
  today.emit('cast', 'é€😀♥');
  await session.hearUntil(JSON.stringify({ event: 'cast', args: ['é€😀♥'] }));
});
