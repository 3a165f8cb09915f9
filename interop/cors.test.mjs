// Which web pages may speak to the server: those of http://good.example, and of the server's own origin.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { engineUrl, handshake, request } from './lib/http.mjs';
import { base } from './lib/target.mjs';
import { RawSocket } from './lib/rawsocket.mjs';

const GOOD = 'http://good.example';
const FOREIGN = ['http://evil.example', 'http://good.example.evil.example', 'https://good.example',
  'http://good.example:8080', 'http://sub.good.example', 'null'];
const OPEN = { EIO: 4, transport: 'polling' };

function assertGranted(answer) {
  assert.equal(answer.headers['access-control-allow-origin'], GOOD);
  assert.equal(answer.headers['access-control-allow-credentials'], 'true');
  assert.match(answer.headers.vary ?? '', /\borigin\b/i, 'a cache must not mix the answers up');
}

function assertNotGranted(answer, origin) {
  const granted = answer.headers['access-control-allow-origin'];
  assert.ok(granted === undefined || granted === GOOD, `${origin} was granted ${granted}`);
}

test('the listed origin may poll, with credentials', async () => {
  const headers = { origin: GOOD };
  const session = await handshake({ headers });
  assertGranted(session.answer);
  const posted = await request('POST', session.url, { headers, body: '40' });
  assert.equal(posted.status, 200);
  assertGranted(posted);
  assertGranted(await request('GET', session.url, { headers }));
});

test('the listed origin can read why it was refused', async () => {
  const answer = await request('GET', engineUrl({ ...OPEN, sid: 'nobody' }), { headers: { origin: GOOD } });
  assert.equal(answer.status, 400);
  assertGranted(answer);
});

test('the preflight of the listed origin', async () => {
  const headers = { origin: GOOD, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-mine' };
  const answer = await request('OPTIONS', engineUrl(OPEN), { headers });
  assert.deepEqual([answer.status, answer.body], [204, '']);
  assertGranted(answer);
  assert.match(answer.headers['access-control-allow-methods'], /\bPOST\b/);
  assert.match(answer.headers['access-control-allow-headers'], /\bx-mine\b/i);
});

test('a preflight with a session leaves the session alone', async () => {
  const session = await handshake();
  const headers = { origin: GOOD, 'access-control-request-method': 'POST' };
  assert.equal((await request('OPTIONS', session.url, { headers })).status, 204);
  assert.equal((await request('POST', session.url, { body: '40' })).status, 200);
});

for (const origin of FOREIGN) {
  test(`${origin} is granted nothing`, async () => {
    const headers = { origin };
    const answer = await request('GET', engineUrl(OPEN), { headers });
    assert.ok(answer.status === 200 || answer.status === 403, `status ${answer.status}`);
    assertNotGranted(answer, origin);
    const preflight = { ...headers, 'access-control-request-method': 'POST' };
    assertNotGranted(await request('OPTIONS', engineUrl(OPEN), { headers: preflight }), origin);
  });
}

// CORS decides which pages may read answers. Another rule decides which pages may open sessions. The contract leaves
// this rule open, as genuine servers do.
for (const origin of [GOOD, base, ...FOREIGN, undefined]) {
  test(`${origin ?? 'no origin'} gets a websocket`, async (t) => {
    const socket = new RawSocket({ EIO: 4, transport: 'websocket' }, origin ? { headers: { origin } } : {});
    t.after(() => socket.cut());
    assert.match(await socket.next(), /^0\{/);
  });
}
