// The wire of November 2010 that was never released (docs/protocol/legacy-streaming.md), byte by byte, because no
// package has a client for it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { request } from './lib/http.mjs';
import { plainPolling, plainWebSocket, tilde } from './lib/old-wire.mjs';
import { connect } from './lib/peer.mjs';
import { base } from './lib/target.mjs';
import { OBJECTS, TEXTS } from './lib/texts.mjs';

/** Splits a payload of packets `TYPE:LEN:CONTENT,`. */
function packets(payload) {
  const all = [];
  for (let rest = payload; rest !== '';) {
    const [head, , length] = /^(\d):(\d+):/.exec(rest) ?? assert.fail(`no packet begins ${JSON.stringify(rest.slice(0, 40))}`);
    const end = head.length + Number(length) + 1;
    assert.equal(rest[end - 1], ',', `the packet ${JSON.stringify(rest.slice(0, end))} ends with a comma`);
    all.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
  return all;
}

const packet = (type, content) => `${type}:${content.length}:${content},`;
const text = (value) => packet(1, `:${value}`);
const json = (value) => packet(1, `j\n:${JSON.stringify(value)}`);

const STREAMING = {
  path: '/streaming',
  read: packets,
  id: ([first]) => /^3:\d+:([0-9A-Za-z]+),$/.exec(first)?.[1] ?? assert.fail(`${first} is no handshake`),
};

const connects = { websocket: (t) => plainWebSocket(t, STREAMING), 'xhr-polling': () => plainPolling(STREAMING) };

for (const [name, open] of Object.entries(connects)) {
  describe(`streaming codec over ${name}`, { concurrency: true }, () => {
    test('text and JSON come back as they went', async (t) => {
      const session = await open(t);
      for (const sent of [...TEXTS.map(text), ...OBJECTS.map(json), json(['a1', 'a2']), json(null)]) {
        await session.send(sent);
        assert.deepEqual((await session.hearUntil(sent)).filter((heard) => !heard.startsWith('2:')), [sent]);
      }
    });

    test('many packets in one payload, and one packet in many', async (t) => {
      const session = await open(t);
      const burst = Array.from({ length: 200 }, (_, index) => text(`😀 ${index}`));
      await session.send(burst.join(''));
      assert.deepEqual((await session.hearUntil(burst.at(-1))).filter((heard) => !heard.startsWith('2:')), burst);
      const pieces = text('in pieces é€😀');
      for (const piece of [pieces.slice(0, 1), pieces.slice(1, 3), pieces.slice(3, 9), pieces.slice(9)]) await session.send(piece);
      await session.hearUntil(pieces);
    });

    test('lengths in code points, as the Go client counts', async (t) => {
      const session = await open(t);
      await session.send('1:2::😀,');
      assert.ok((await session.hearUntil(text('😀'))).length > 0);
    });

    for (const [what, bad] of [['no comma', '1:3::fael!,'], ['no type', ':3:abc,'], ['a word for a length', '1:x::hi,'], ['a length without end', `1:${'9'.repeat(300)}::hi,`], ['the wire of 0.6', tilde('hello')]]) {
      test(`${what} ends the session, and that alone`, async (t) => {
        const [session, other] = [await open(t), await open(t)];
        await session.send(bad).catch((error) => assert.match(error.message, /answered 400/));
        await assert.rejects(async () => {
          await session.send(text('after'));
          await session.hearUntil(text('after'));
        });
        await other.send(text('alive'));
        await other.hearUntil(text('alive'));
      });
    }

    test('a client that says 0 is gone', async (t) => {
      const session = await open(t);
      await session.send(packet(0, ''));
      await assert.rejects(async () => {
        await session.send(text('after'));
        await session.hearUntil(text('after'));
      });
    });
  });
}

test('heartbeats over three intervals', async (t) => {
  const session = await connects.websocket(t);
  for (let beat = 1; beat <= 3; beat += 1) {
    assert.equal(await session.socket.next(), packet(2, `${beat}`));
    await session.send(packet(2, `${beat}`));
  }
  await session.send(text('still here'));
  await session.hearUntil(text('still here'));
});

test('jsonp-polling, with the line breaks that a browser makes of the separator', async () => {
  const url = (sid) => `${base}/streaming/jsonp-polling/${sid}/1/3`;
  const opened = await request('GET', `${base}/streaming/jsonp-polling//1/3`);
  const payload = ({ body }) => JSON.parse(/^io\.JSONP\[3\]\._\((.*)\);?$/.exec(body)[1]);
  const sid = STREAMING.id(packets(payload(opened)));
  const form = new URLSearchParams({ data: json({ a: 1 }).replaceAll('\n', '\r\n') });
  const posted = await request('POST', url(sid), { body: `${form}`, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  assert.equal(posted.status, 200);
  assert.deepEqual(packets(payload(await request('GET', url(sid)))), [json({ a: 1 })]);
});

test('hears what a client of today says', async (t) => {
  const session = await connects['xhr-polling'](t);
  const today = await connect(t, newest, { transports: TRANSPORTS.websocket });
  today.emit('cast', 'é€😀♥');
  await session.hearUntil(json({ event: 'cast', args: ['é€😀♥'] }));
});

test('a session of one wire is unknown to the other', async () => {
  const { sid } = await plainPolling(STREAMING);
  assert.equal((await request('GET', `${base}/socket.io/xhr-polling/${sid}/1`)).status, 400);
});
