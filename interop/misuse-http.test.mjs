// Polling misused: the tables of docs/protocol/engine-io.md §4.4 and §4.5, line by line.

import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'node:test';
import { engineUrl, handshake, joined, open, raw, request } from './lib/http.mjs';
import { base, port, settings } from './lib/target.mjs';
import { sleep, within } from './lib/wait.mjs';

const CODES = {
  0: 'Transport unknown',
  1: 'Session ID unknown',
  2: 'Bad handshake method',
  3: 'Bad request',
};

function assertRefused(answer, code) {
  assert.equal(answer.status, 400);
  assert.match(answer.headers['content-type'], /^application\/json/);
  assert.deepEqual(JSON.parse(answer.body), { code, message: CODES[code] });
}

async function assertGone(session) {
  assertRefused(await request('GET', session.url), 1);
}

/** The session still answers: an event posted comes back with the next poll. */
async function assertAlive(session) {
  const posted = await request('POST', session.url, { body: '42["echo","alive"]' });
  assert.deepEqual([posted.status, posted.body], [200, 'ok']);
  for (let polls = 0; polls < 5; polls += 1) {
    const { status, body } = await request('GET', session.url);
    assert.equal(status, 200);
    if (body.includes('42["echo","alive"]')) return;
    assert.equal(body, '2', 'nothing but a heartbeat may come before');
    await request('POST', session.url, { body: '3' });
  }
  assert.fail('the echo never came');
}

/** A poll that the server certainly holds. */
async function heldPoll(session) {
  const poll = open('GET', session.url);
  await sleep(50);
  return poll;
}

describe('the handshake', () => {
  test('revision 4', async () => {
    const { answer, ...session } = await handshake();
    assert.equal(answer.headers['content-type'], 'text/plain; charset=UTF-8');
    assert.match(answer.body, /^0\{/);
    assert.match(session.sid, /^[A-Za-z0-9_-]{32}$/);
    assert.deepEqual(
      [session.upgrades, session.pingInterval, session.pingTimeout, session.maxPayload],
      [['websocket'], settings.pingInterval, settings.pingTimeout, settings.maxPayload],
    );
    assert.equal(answer.headers['set-cookie'], undefined, 'cookies are off');
  });

  test('revisions that never were', async () => {
    for (const EIO of ['5', '04', '4.0']) {
      const { status, body } = await request('GET', engineUrl({ EIO, transport: 'polling' }));
      assert.deepEqual([status, JSON.parse(body).code], [400, 5], EIO);
    }
  });

  test('revision 3', async () => {
    for (const EIO of ['3', '2']) {
      const { status, body } = await request('GET', engineUrl({ EIO, transport: 'polling' }));
      assert.equal(status, 200);
      const [, length, rest] = /^(\d+):(.*)$/s.exec(body) ?? assert.fail(`EIO=${EIO}: ${body}`);
      assert.equal(rest[0], '0', `EIO=${EIO}`);
      assert.ok(rest.length >= Number(length));
    }
  });

  test('the path is a prefix', async () => {
    const query = '?EIO=4&transport=polling';
    assert.equal((await request('GET', `${base}/socket.io/foo${query}`)).status, 200);
    // The path without its final slash is served, too: docs/hardening.md, B7.
    assert.equal((await request('GET', `${base}/socket.io${query}`)).status, 200);
    assert.equal((await request('GET', `${base}/socket.iox/${query}`)).status, 404);
    assert.equal((await request('GET', `${base}/other/${query}`)).status, 404);
  });
});

describe('refused with a code', () => {
  const unknown = ['', 'foo', 'webtransport', 'flashsocket', 'constructor', '__proto__', 'POLLING'];
  for (const transport of unknown) {
    test(`transport "${transport}" is code 0`, async () => {
      assertRefused(await request('GET', engineUrl({ EIO: 4, transport })), 0);
    });
  }

  test('no transport is code 0', async () => {
    assertRefused(await request('GET', engineUrl({ EIO: 4 })), 0);
  });

  for (const sid of ['x', 'constructor', '__proto__', 'hasOwnProperty', 'A'.repeat(20), '%00', 'é', 'A'.repeat(2000)]) {
    test(`session "${sid.slice(0, 24)}" is code 1`, async () => {
      for (const method of ['GET', 'POST', 'PUT']) {
        assertRefused(await request(method, engineUrl({ EIO: 4, transport: 'polling', sid })), 1);
      }
    });
  }

  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    test(`${method} without a session is code 2`, async () => {
      assertRefused(await request(method, engineUrl({ EIO: 4, transport: 'polling' })), 2);
    });
  }

  test('HEAD without a session is refused', async () => {
    assert.equal((await request('HEAD', engineUrl({ EIO: 4, transport: 'polling' }))).status, 400);
  });

  test('websocket without an upgrade is code 3', async () => {
    assertRefused(await request('GET', engineUrl({ EIO: 4, transport: 'websocket' })), 3);
  });

  test('the wrong transport for the session is code 3, and the session lives', async () => {
    const session = await joined();
    const wrong = engineUrl({ EIO: 4, transport: 'websocket', sid: session.sid });
    assertRefused(await request('GET', wrong), 3);
    assertRefused(await request('POST', wrong, { body: '42["echo"]' }), 3);
    await assertAlive(session);
  });

  test('an upgrade is refused in plain text', async () => {
    const cases = [
      ['transport=foo', 'Transport unknown'],
      ['transport=constructor', 'Transport unknown'],
      ['transport=websocket&sid=nobody', 'Session ID unknown'],
    ];
    for (const [query, message] of cases) {
      const answer = await raw(
        `GET /socket.io/?EIO=4&${query} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      );
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/, query);
      assert.ok(answer.endsWith(`\r\n\r\n${message}`), `${query}: ${answer}`);
    }
  });
});

describe('one poll and one post at a time', () => {
  test('a second GET is refused and ends the session', async () => {
    const session = await joined();
    const first = await heldPoll(session);
    const second = await request('GET', session.url);
    assert.deepEqual([second.status, second.body], [400, '']);
    assert.equal((await first.answer).body, '1');
    await assertGone(session);
  });

  test('a second POST is refused and ends the session', async (t) => {
    const session = await joined();
    const socket = net.connect(port, '127.0.0.1');
    t.after(() => socket.destroy());
    const closed = new Promise((resolve) => socket.on('close', resolve).on('error', resolve));
    const path = session.url.slice(base.length);
    socket.resume();
    socket.write(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 100\r\n\r\n42["echo"`);
    await sleep(50);
    const second = await request('POST', session.url, { body: '42["echo"]' });
    assert.deepEqual([second.status, second.body], [400, '']);
    await within(closed, 'the first POST to be cut off');
    await assertGone(session);
  });

  test('a GET and a POST go side by side', async () => {
    const session = await joined();
    const poll = await heldPoll(session);
    assert.equal((await request('POST', session.url, { body: '42["echo",1]' })).body, 'ok');
    assert.equal((await poll.answer).body, '42["echo",1]');
  });

  test('hanging up on a poll ends the session', async () => {
    const session = await joined();
    (await heldPoll(session)).destroy();
    await sleep(100);
    await assertGone(session);
  });

  test('hanging up on a post ends the session', async () => {
    const session = await joined();
    const socket = net.connect(port, '127.0.0.1');
    socket.write(`POST ${session.url.slice(base.length)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n42["echo"`);
    await sleep(50);
    socket.destroy();
    await sleep(100);
    await assertGone(session);
  });
});

describe('methods and bodies', () => {
  for (const method of ['PUT', 'DELETE', 'PATCH', 'HEAD']) {
    test(`${method} with a session is 500, and the session lives`, async () => {
      const session = await joined();
      const answer = await request(method, session.url);
      assert.deepEqual([answer.status, answer.body], [500, '']);
      await assertAlive(session);
    });
  }

  test('the answer to a POST', async () => {
    const session = await joined();
    const answer = await request('POST', session.url, { body: '42["echo"]' });
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.equal(answer.headers['content-type'], 'text/html');
    assert.equal(answer.headers['content-length'], '2');
  });

  test('octet-stream in revision 4 is 400 and ends the session', async () => {
    const session = await joined();
    const headers = { 'content-type': 'application/octet-stream' };
    const answer = await request('POST', session.url, { headers, body: '42["echo"]' });
    assert.deepEqual([answer.status, answer.body], [400, '']);
    await assertGone(session);
  });

  for (const framing of ['content-length', 'chunked']) {
    test(`a body too large (${framing}) is 413 and ends the session, as engine.io 6.6.13 has it`, async () => {
      const session = await joined();
      const body = `42["echo","${'x'.repeat(settings.maxPayload)}"]`;
      const headers = framing === 'chunked' ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length };
      const answer = await request('POST', session.url, { headers, body }).catch((error) => error);
      // The server may close the connection before it has read everything. Then the answer may be lost.
      if (answer instanceof Error) assert.ok(['ECONNRESET', 'EPIPE'].includes(answer.code), answer.message);
      else assert.deepEqual([answer.status, answer.body], [413, '']);
      await assertGone(session);
    });
  }

  test('a body of exactly the limit is taken', async () => {
    const session = await joined();
    const frame = '42["no-such-event",""]';
    const body = frame.replace('""]', `"${'x'.repeat(settings.maxPayload - frame.length)}"]`);
    assert.equal(body.length, settings.maxPayload);
    assert.equal((await request('POST', session.url, { body })).status, 200);
    await assertAlive(session);
  });
});

describe('payloads', () => {
  const BAD = [
    ['an empty body', ''],
    ['an unknown packet type', '7'],
    ['no packet type', 'x'],
    ['an empty packet at the end', '42["echo",1]\u001e'],
    ['two separators', '42["echo",1]\u001e\u001e42["echo",2]'],
  ];
  for (const [name, body] of BAD) {
    test(`${name} is answered ok and ends the session`, async () => {
      const session = await joined();
      const poll = await heldPoll(session);
      const posted = await request('POST', session.url, { body });
      assert.deepEqual([posted.status, posted.body], [200, 'ok']);
      const last = (await poll.answer).body;
      // The packets before the bad packet were delivered. Their answers may come in the same poll as the close.
      const delivered = body.startsWith('42') ? ['42["echo",1]\u001e1', '42["echo",1]', '1'] : ['1'];
      assert.ok(delivered.includes(last), JSON.stringify(last));
      await assertGone(session);
    });
  }

  test('an empty payload of revision 3 ends the session', async () => {
    const session = await handshake({ eio: 3 });
    if (!session.answer.body.includes('2:40')) await request('GET', session.url); // the implicit CONNECT comes in its own poll
    const poll = await heldPoll(session);
    const posted = await request('POST', session.url, { body: '' });
    assert.deepEqual([posted.status, posted.body], [200, 'ok']);
    assert.equal((await poll.answer).body, '1:1');
    await assertGone(session);
  });

  test('a heartbeat in the wrong direction ends the session', async () => {
    const session = await joined();
    const poll = await heldPoll(session);
    assert.equal((await request('POST', session.url, { body: '2' })).status, 200);
    assert.equal((await poll.answer).body, '1');
    await assertGone(session);
  });

  test('the client closes: the held poll ends with a noop', async () => {
    const session = await joined();
    const poll = await heldPoll(session);
    const posted = await request('POST', session.url, { body: '1' });
    assert.deepEqual([posted.status, posted.body], [200, 'ok']);
    assert.equal((await poll.answer).body, '6');
    await assertGone(session);
  });

  test('several packets in one body are answered in order', async () => {
    const session = await joined();
    const body = ['42["echo",1]', '42["echo",2]', '451-["echo",{"_placeholder":true,"num":0}]', 'bAQI='].join('\u001e');
    await request('POST', session.url, { body });
    assert.equal((await request('GET', session.url)).body, body);
  });
});

describe('JSONP', () => {
  test('the callback keeps its digits only', async () => {
    for (const [j, expected] of [['7', '7'], ['1);alert(1', '11'], ['x', '']]) {
      const { body } = await request('GET', engineUrl({ EIO: 3, transport: 'polling', b64: 1, j }));
      assert.ok(body.startsWith(`___eio[${expected}]("`) && body.endsWith('");'), body);
    }
  });

  test('a form is a payload', async () => {
    const { body } = await request('GET', engineUrl({ EIO: 3, transport: 'polling', b64: 1, j: 0 }));
    const sid = /sid\\":\\"([^\\]+)/.exec(body)[1];
    const url = engineUrl({ EIO: 3, transport: 'polling', b64: 1, j: 0, sid });
    // The client writes one more backslash in front of the characters \n, because the server reads \n as a line feed.
    const packet = String.raw`42["echo","a b+c\nd"]`;
    const d = `${packet.length}:${packet}`.replaceAll(String.raw`\n`, String.raw`\\n`);
    const form = new URLSearchParams({ d }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await request('POST', url, { headers, body: form })).status, 200);
    let payload = '';
    for (let polls = 0; polls < 3 && !payload.includes('echo'); polls += 1) {
      const script = /^___eio\[0\]\((".*")\);$/s.exec((await request('GET', url)).body);
      payload += JSON.parse(script[1]);
    }
    assert.ok(payload.endsWith(`${packet.length}:${packet}`), payload);
  });
});
