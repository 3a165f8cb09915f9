// Packets that old clients should not send: docs/protocol/legacy-0.6.md §16 and legacy-0.9.md §13, the columns of the
// robust server, and wrong requests. The tests of sio-proto cover these tables completely. Here real sockets check that
// the server stays up, that the session ends or goes on, and that other sessions live on.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { open, raw, request } from './lib/http.mjs';
import {
  colonHandshake, colonPackets, colonPolling, colonUrl, colonWebSocket, resumesByPolling, tilde, tildeForm, tildeFrames, tildePolling, tildeWebSocket,
} from './lib/old-wire.mjs';
import { RawSocket } from './lib/rawsocket.mjs';
import { base, port, settings } from './lib/target.mjs';

const FFFD = '\ufffd';
const NOT_HANDSHAKEN = '7:::1+0';
const framed = (...packets) => packets.map((packet) => `${FFFD}${packet.length}${FFFD}${packet}`).join('');

/** One client of each generation. All of them connect before these tests, and must still be connected afterwards. */
const witnesses = [];
const endings = [];
before(async () => {
  const t = { after: (end) => endings.push(end) };
  witnesses.push([await colonWebSocket(t), (text) => `3:::${text}`, (text) => `3:::${text}`]);
  witnesses.push([await tildeWebSocket(t), tilde, (text) => text]);
  const answerHeartbeats = ({ socket }) => socket.ws.on('message', (data) => {
    if (/^2::|~h~/.test(data)) socket.send(data.toString());
  });
  witnesses.forEach(([session]) => answerHeartbeats(session));
});
after(async () => {
  for (const [session, write, read] of witnesses) {
    await session.send(write('witness'));
    await session.hearUntil(read('witness'));
  }
  endings.forEach((end) => end());
});

const COLON_IGNORED = [
  ...['garbage', '3', '0', '2', '::::', ':', '9:::x', 'xx3:::hi', ':3:::hi', '-1:::hi', '3:x::hi'].map((packet) => [packet, packet]),
  ['an event that is no JSON', '5:::{bad'],
  ['an event that is null', '5:::null'],
  ['an event that is a list', '5:::[]'],
  ['an event without a name', '5:::{"args":[1]}'],
  ['an event whose name is a number', '5:::{"name":5}'],
  ['half a JSON message', '4:::{"a":'],
  ['a JSON message with five thousand brackets', `4:::${'['.repeat(5000)}${']'.repeat(5000)}`],
  ['an acknowledgement that is a word', '6:::x'],
  ['an acknowledgement nobody waits for', '6:::999+["x"]'],
  ['a second connect', '1::'],
  ['an event named error', '5:::{"name":"error","args":["x"]}'],
  ['an event for a namespace that there is not', '5::/nowhere:{"name":"echo"}'],
  ['leaving a namespace that was not joined', '0::/tenant-1'],
  ['an error, which is not a client\'s to send', '7:::1+0'],
  ['an error with more in it than it says', '7::/x:9+9+9'],
];

const COLON_PAYLOADS = [
  ['the mark alone', FFFD, []],
  ['two marks', `${FFFD}${FFFD}`, []],
  ['a length that is a word', `${FFFD}x${FFFD}3:::hi`, []],
  ['a negative length', `${FFFD}-5${FFFD}3:::hi`, []],
  ['a length without end', `${FFFD}${'9'.repeat(500)}${FFFD}3:::hi`, []],
  ['a length that is too large', `${FFFD}50${FFFD}3:::hi`, []],
  ['a good packet before a bad one', `${framed('3:::good')}${FFFD}50${FFFD}3:::hi`, ['3:::good']],
  ['an empty body', '', []],
];

for (const [name, connect] of [['websocket', colonWebSocket], ['xhr-polling', colonPolling]]) {
  describe(`0.7 to 0.9 over ${name}: ignored`, { concurrency: 8 }, () => {
    for (const [what, packet] of COLON_IGNORED) {
      test(what, async (t) => {
        const session = await connect(t);
        await session.send(packet);
        await session.send('3:::alive');
        assert.deepEqual(await session.hearUntil('3:::alive'), ['3:::alive']);
      });
    }
  });
}

describe('0.7 to 0.9: payloads', { concurrency: 8 }, () => {
  for (const [what, payload, delivered] of COLON_PAYLOADS) {
    test(what, async (t) => {
      const session = await colonPolling(t);
      assert.deepEqual((await session.post(payload)).body, '1');
      await session.send('3:::alive');
      assert.deepEqual(await session.hearUntil('3:::alive'), [...delivered, '3:::alive']);
    });
  }

  test('a frame on a websocket is no packet', async (t) => {
    const session = await colonWebSocket(t);
    await session.send(framed('3:::a', '3:::b'));
    await session.send('3:::alive');
    assert.deepEqual(await session.hearUntil('3:::alive'), ['3:::alive']);
  });

  for (const form of ['d=5', 'd=', 'x=1', 'd=null', 'd={"a":1}', 'd=%22unfinished', '', 'd=%', 'd=%ff']) {
    test(`the form ${form} of jsonp-polling`, async (t) => {
      const session = await colonPolling(t);
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const answer = await request('POST', colonUrl('jsonp-polling', session.sid, '?i=0'), { body: form, headers });
      assert.ok([200, 400].includes(answer.status), `${answer.status}`);
      await session.send('3:::alive');
      assert.ok((await session.hearUntil('3:::alive')).includes('3:::alive'));
    });
  }

  test('bytes that are no UTF-8', async (t) => {
    const session = await colonPolling(t);
    assert.equal((await session.post(Buffer.from([0x33, 0x3a, 0x3a, 0x3a, 0xff]))).status, 400);
    await session.send('3:::alive');
    await session.hearUntil('3:::alive');
  });

  test('more than the server takes', async (t) => {
    const session = await colonPolling(t);
    const answer = await request('POST', colonUrl('xhr-polling', session.sid), { body: 'x'.repeat(settings.maxPayload + 1) });
    assert.equal(answer.status, 413);
  });
});

describe('0.7 to 0.9: requests', { concurrency: 8 }, () => {
  const STATUS = [
    ['GET', '/socket.io/2/', 500],
    ['GET', '/socket.io/1/websocket/SID', 400],
    ['GET', '/socket.io/1/carrier-pigeon/SID', 400],
    ['GET', '/socket.io/1/xhr-multipart/SID', 400],
    ['GET', '/socket.io/1/xhr-polling/SID/more/still', 400],
    ['PUT', '/socket.io/1/xhr-polling/SID', 405],
    ['DELETE', '/socket.io/1/', 405],
  ];
  for (const [method, path, status] of STATUS) {
    test(`${method} ${path} is answered ${status}`, async (t) => {
      const session = await colonPolling(t);
      assert.equal((await request(method, base + path.replace('SID', session.sid))).status, status);
      await session.send('3:::alive');
      await session.hearUntil('3:::alive');
    });
  }

  test('an unknown session is told to come anew, in the words of its transport', async (t) => {
    assert.equal((await request('GET', colonUrl('xhr-polling', 'nobody'))).body, NOT_HANDSHAKEN);
    assert.equal((await request('GET', colonUrl('jsonp-polling', 'nobody', '?i=7'))).body, `io.j[7]("${NOT_HANDSHAKEN}");`);
    const posted = await request('POST', colonUrl('xhr-polling', 'nobody'), { body: '3:::x' });
    assert.deepEqual([posted.status, posted.body], [200, '1']);
    const socket = new RawSocket('/socket.io/1/websocket/nobody');
    t.after(() => socket.cut());
    assert.equal(await socket.next(), NOT_HANDSHAKEN);
    assert.ok('code' in (await socket.outcome()));
  });

  test('sessions of 0.6 and of today are unknown here', async () => {
    const { sid } = await tildePolling();
    assert.equal((await request('GET', colonUrl('xhr-polling', sid))).body, NOT_HANDSHAKEN);
    const { body } = await request('GET', `${base}/socket.io/?EIO=4&transport=polling`);
    assert.equal((await request('GET', colonUrl('xhr-polling', JSON.parse(body.slice(1)).sid))).body, NOT_HANDSHAKEN);
  });

  test('no script is written by the client', async () => {
    const sid = await colonHandshake();
    const answer = await request('GET', colonUrl('jsonp-polling', sid, '?i=0);alert(1);('));
    assert.equal(answer.body, 'io.j[0]("1::");');
    const handshake = await request('GET', `${base}/socket.io/1/?jsonp=alert(1)`);
    assert.match(handshake.body, /^[\w-]+:\d+:\d+:/, 'what is no number is no script');
  });

  test('an upgrade that says goodbye', async (t) => {
    const session = await colonPolling(t);
    const socket = new RawSocket(`/socket.io/1/websocket/${session.sid}?disconnect=1`);
    t.after(() => socket.cut());
    assert.ok((await socket.outcome()).refused >= 200, 'it is answered, and not upgraded');
    assert.equal((await fetch(`${base}/__stats`)).status, 200);
  });

  test('the newer of two polls is the live one', async (t) => {
    const session = await colonPolling(t);
    const older = open('GET', session.pollUrl());
    const newer = session.poll();
    const first = await Promise.race([older.answer, newer]);
    assert.deepEqual(colonPackets(first.body), ['8::']);
    await session.send('3:::alive');
    const answers = await Promise.all([older.answer, newer]);
    assert.ok(answers.some((answer) => answer.body === '3:::alive'));
  });

  test('the beacon ends the session, and that of a stranger nothing', async (t) => {
    const session = await colonPolling(t);
    assert.equal((await request('GET', `${base}/socket.io/1//nobody/?disconnect=1`)).status, 200);
    await session.send('3:::alive');
    await session.hearUntil('3:::alive');
    assert.equal((await request('GET', `${base}/socket.io/1//${session.sid}/?disconnect=1`)).status, 200);
    assert.equal((await session.poll()).body, NOT_HANDSHAKEN);
  });

  test('0:: ends the session', async (t) => {
    const session = await colonPolling(t);
    const polled = session.poll();
    await session.send('0::');
    assert.ok(['0::', NOT_HANDSHAKEN].includes((await polled).body));
    assert.equal((await session.poll()).body, NOT_HANDSHAKEN);
  });
});

/** The part of a payload that the server accepted: the bodies that come back. */
const TILDE_PAYLOADS = [
  ['nothing', '', []],
  ['no header', 'hello', []],
  ['a good frame before garbage', `${tilde('good')}garbage`, ['good']],
  ['a length that is too large', '~m~20~m~hi', []],
  ['a length that is too small', '~m~1~m~hi', ['h']],
  ['a header alone', '~m~', []],
  ['half a header', '~m~12', []],
  ['no digits', '~m~~m~x', []],
  ['a negative length', '~m~-2~m~ok', []],
  ['a word for a length', '~m~x~m~hi', []],
  ['a blank in a length', '~m~ 2~m~ok', []],
  ['zeros before a length', '~m~002~m~ok', ['ok']],
  ['another delimiter', '~m~2XYZok', []],
  ['a length without end', `~m~${'9'.repeat(500)}~m~hi`, []],
  ['half a JSON message', tilde('~j~{"a":'), []],
  ['five thousand brackets', tilde(`~j~${'['.repeat(5000)}${']'.repeat(5000)}`), []],
  ['a heartbeat with a wrong number', tilde('~h~99999'), []],
  ['a heartbeat that is a word', tilde('~h~fake'), []],
  ['a heartbeat before a message', tilde('~h~99999', 'after'), ['after']],
  ['lengths in code points, as the Go client counts', '~m~1~m~😀~m~2~m~♥x', ['😀', '♥x']],
  ['the wire of a later year', '1:6::hello,', []],
  ['the wire of an earlier year', '["hello"]', []],
];

for (const [name, connect] of [['websocket', tildeWebSocket], ['xhr-polling', tildePolling]]) {
  describe(`0.6 over ${name}: what is wrong costs the rest of the payload`, { concurrency: 8 }, () => {
    for (const [what, payload, delivered] of TILDE_PAYLOADS) {
      test(what, async (t) => {
        const session = await connect(t);
        await session.send(payload);
        await session.send(tilde('alive'));
        assert.deepEqual(await session.hearUntil('alive'), [...delivered, 'alive']);
      });
    }
  });
}

describe('0.6: requests', { concurrency: 8 }, () => {
  const REFUSED = [
    ['GET', '/socket.io/xhr-polling/nobody/1'],
    ['POST', '/socket.io/xhr-polling/nobody/send'],
    ['POST', '/socket.io/xhr-polling//send'],
    ['GET', '/socket.io/websocket'],
    ['GET', '/socket.io/jsonp-polling/'],
    ['GET', '/socket.io/jsonp-polling//1/x'],
  ];
  for (const [method, path] of REFUSED) {
    test(`${method} ${path} is answered 400`, async () => {
      const { body, headers } = method === 'POST' ? tildeForm(tilde('x')) : {};
      assert.equal((await request(method, base + path, { body, headers })).status, 400);
    });
  }

  test('an upgrade with an unknown id is refused, and makes no session', async (t) => {
    const socket = new RawSocket('/socket.io/websocket/nobody');
    t.after(() => socket.cut());
    assert.deepEqual(await socket.outcome(), { refused: 400 });
  });

  for (const form of ['x=1', '', 'data']) {
    test(`the form ${JSON.stringify(form)} has no data`, async () => {
      const session = await tildePolling();
      const { headers } = tildeForm('');
      assert.ok([200, 400].includes((await request('POST', session.sendUrl, { body: form, headers })).status));
      await session.send(tilde('alive'));
      assert.deepEqual(await session.hearUntil('alive'), ['alive']);
    });
  }

  test('of two fields the first counts, and what is no UTF-8 harms nobody', async () => {
    const session = await tildePolling();
    const { headers } = tildeForm('');
    await request('POST', session.sendUrl, { body: `data=${tilde('one')}&data=${tilde('two')}`, headers });
    const broken = await request('POST', session.sendUrl, { body: 'data=~m~1~m~%ff', headers });
    assert.ok([200, 400].includes(broken.status));
    await session.send(tilde('alive'));
    const heard = await session.hearUntil('alive');
    assert.ok(heard.includes('one') && !heard.includes('two'), heard.join());
  });

  test('more than the server takes', async () => {
    const session = await tildePolling();
    const { headers } = tildeForm('');
    const answer = await request('POST', session.sendUrl, { body: `data=${'x'.repeat(settings.maxPayload)}`, headers });
    assert.equal(answer.status, 413);
  });

  test('a session is resumed by its id, over another transport too', async (t) => {
    const session = await tildePolling();
    const socket = new RawSocket(`/socket.io/websocket/${session.sid}`);
    t.after(() => socket.cut());
    await session.send(tilde('over here'));
    let heard = [];
    while (!heard.includes('over here')) heard = tildeFrames(await socket.next());
    socket.cut();
    await resumesByPolling({ poll: () => session.poll(), say: (text) => session.send(tilde(text)) });
  });
});

test('an upgrade that is none: hundreds of odd handshakes, and the server is up', async () => {
  const heads = ['Upgrade: websocket', 'Upgrade: WebSocket\r\nConnection: Upgrade', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99',
    'Upgrade: pigeon\r\nConnection: Upgrade', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13'];
  for (const path of ['/socket.io/websocket', '/socket.io/1/websocket/nobody', '/socket.io/1/flashsocket/nobody']) {
    for (const head of heads) {
      await raw(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nOrigin: ${base}\r\n${head}\r\nConnection: close\r\n\r\n`).catch((error) => {
        // The server may have accepted the handshake. Then the connection stays open.
        if (!/nothing within/.test(error.message)) throw error;
      });
    }
  }
  assert.equal((await fetch(`${base}/__stats`)).status, 200);
});
