// Upgrades gone wrong: the races of docs/protocol/engine-io.md §7, and websockets that misbehave (§5).

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { joined, open, request } from './lib/http.mjs';
import { joinedSocket, RawSocket } from './lib/rawsocket.mjs';
import { settings } from './lib/target.mjs';
import { sleep } from './lib/wait.mjs';

const candidate = (t, session) => {
  const socket = new RawSocket({ EIO: 4, transport: 'websocket', sid: session.sid });
  t.after(() => socket.cut());
  return socket;
};

async function probed(t, session) {
  const socket = candidate(t, session);
  await new Promise((resolve) => socket.ws.on('open', resolve));
  socket.send('2probe');
  assert.equal(await socket.next(), '3probe');
  return socket;
}

async function echoesByPolling(session) {
  await request('POST', session.url, { body: '42["echo","polling"]' });
  let heard = '';
  for (let polls = 0; polls < 5 && !heard.includes('echo'); polls += 1) heard += (await request('GET', session.url)).body;
  assert.ok(heard.includes('42["echo","polling"]'), heard);
}

async function echoesByWebSocket(socket) {
  socket.send('42["echo","websocket"]');
  assert.equal(await socket.message(), '42["echo","websocket"]');
}

describe('the upgrade', () => {
  test('as it should be: the held poll ends, then the websocket speaks', async (t) => {
    const session = await joined();
    const poll = open('GET', session.url);
    const socket = await probed(t, session);
    assert.equal((await poll.answer).body, '6', 'the poll is let go while the probe stands');
    socket.send('5');
    await echoesByWebSocket(socket);
  });

  test('what is said between probe and upgrade is not lost', async (t) => {
    const session = await joined();
    const socket = await probed(t, session);
    await request('POST', session.url, { body: '42["echo","between"]' });
    socket.send('5');
    assert.equal(await socket.message(), '42["echo","between"]');
  });

  test('polling after the upgrade is code 3, and the session lives', async (t) => {
    const session = await joined();
    const socket = await probed(t, session);
    socket.send('5');
    await echoesByWebSocket(socket);
    for (const method of ['GET', 'POST']) {
      const answer = await request(method, session.url, method === 'POST' ? { body: '42["echo"]' } : {});
      assert.deepEqual([answer.status, JSON.parse(answer.body).code], [400, 3]);
    }
    await echoesByWebSocket(socket);
  });

  test('a second candidate is closed, the first goes on', async (t) => {
    const session = await joined();
    const first = await probed(t, session);
    assert.ok((await candidate(t, session).outcome()).code, 'accepted and closed');
    first.send('5');
    await echoesByWebSocket(first);
    assert.ok((await candidate(t, session).outcome()).code, 'accepted and closed');
    await echoesByWebSocket(first);
  });

  for (const packet of ['42["echo","too early"]', '2', '3probe', 'x', '']) {
    test(`a candidate that says "${packet}" is closed, polling goes on`, async (t) => {
      const session = await joined();
      const socket = candidate(t, session);
      await new Promise((resolve) => socket.ws.on('open', resolve));
      socket.send(packet);
      await socket.outcome();
      await echoesByPolling(session);
    });
  }

  test('a candidate that hangs up after the probe leaves polling as it was', async (t) => {
    const session = await joined();
    (await probed(t, session)).cut();
    await sleep(50);
    await echoesByPolling(session);
    const again = await probed(t, session);
    again.send('5');
    await echoesByWebSocket(again);
  });

  test('when the session closes, the candidate closes', async (t) => {
    const session = await joined();
    const socket = await probed(t, session);
    assert.equal((await request('POST', session.url, { body: '1' })).body, 'ok');
    await socket.outcome();
  });

  test('an upgrade with another EIO is refused', async (t) => {
    const session = await joined();
    const socket = new RawSocket({ EIO: 3, transport: 'websocket', sid: session.sid });
    t.after(() => socket.cut());
    assert.deepEqual(await socket.outcome(), { refused: 400 });
    await echoesByPolling(session);
  });
});

describe('the websocket', () => {
  test('transport=polling by websocket is closed at once', async (t) => {
    const socket = new RawSocket({ EIO: 4, transport: 'polling' });
    t.after(() => socket.cut());
    assert.ok((await socket.outcome()).code);
  });

  test('a message above the limit is closed with 1009', async (t) => {
    const socket = await joinedSocket(t);
    socket.send(`42["echo","${'x'.repeat(settings.maxPayload)}"]`);
    assert.deepEqual(await socket.outcome(), { code: 1009 });
  });

  test('a message of exactly the limit is taken', async (t) => {
    const socket = await joinedSocket(t);
    const head = '42["echo","';
    const message = `${head}${'x'.repeat(settings.maxPayload - head.length - 2)}"]`;
    socket.send(message);
    assert.ok((await socket.message()) === message);
  });

  test('text that is not UTF-8 is closed with 1007', async (t) => {
    const socket = await joinedSocket(t);
    socket.ws.send(Buffer.from([0x34, 0x32, 0xff, 0xfe]), { binary: false });
    assert.deepEqual(await socket.outcome(), { code: 1007 });
  });

  test('a frame without mask is closed with 1002', async (t) => {
    const socket = await joinedSocket(t);
    socket.ws.send('42["echo"]', { mask: false });
    assert.deepEqual(await socket.outcome(), { code: 1002 });
  });

  test('fragments make one message, with a ping between them', async (t) => {
    const socket = await joinedSocket(t);
    socket.ws.send('42["ec', { fin: false });
    socket.ws.ping('between');
    socket.ws.send('ho","frag', { fin: false });
    socket.ws.send('ments"]', { fin: true });
    assert.equal(await socket.message(), '42["echo","fragments"]');
  });

  test('a client that never sends CONNECT is closed', async (t) => {
    const socket = new RawSocket({ EIO: 4, transport: 'websocket' });
    t.after(() => socket.cut());
    socket.ws.on('message', (data) => data.toString() === '2' && socket.send('3'));
    const began = Date.now();
    assert.equal((await socket.outcome(settings.connectTimeout + 2000)).code, 1005, 'a Close frame without a code');
    assert.ok(Date.now() - began > settings.connectTimeout - 100);
  });

  for (const eio of [3, 4]) {
    test(`a client of revision ${eio} that neglects the heartbeat is closed`, async (t) => {
      const socket = new RawSocket({ EIO: eio, transport: 'websocket' });
      t.after(() => socket.cut());
      await socket.next();
      if (eio === 4) socket.send('40');
      const began = Date.now();
      assert.equal((await socket.outcome()).code, 1005, 'a Close frame without a code');
      const lived = Date.now() - began;
      const due = settings.pingInterval + settings.pingTimeout;
      assert.ok(lived > due - 200 && lived < due + 1000, `closed after ${lived} ms`);
    });
  }
});
