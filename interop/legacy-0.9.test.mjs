// The genuine browser clients of Socket.IO 0.7.11, 0.8.7 and 0.9.17 (2011 to 2014), in today's Chromium, over every transport that works there,
// from pages of the server's own origin and of another.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { eachOldClient, OLD_RELEASES } from './lib/page-peer.mjs';
import { JSON_VALUES, TEXTS, canRead } from './lib/texts.mjs';
import { sleep } from './lib/wait.mjs';

const RELEASES = OLD_RELEASES.filter((release) => release.family === '0.9');
/** The packet that the server sends to a silent websocket, and how often it sends it. */
const HEARTBEAT_INTERVAL = 3000;
/** How long the server holds a poll when it has nothing to send. */
const POLL_DURATION = 20_000;

const browser = sharedBrowser();

function suite({ release, transport, number, start, connect }) {
  /** A namespace that no other block uses. */
  const own = `/tenant-${1000 + number}`;
  // The forms of 0.7 are not JSON. They can carry only one kind of line break, and the server reads it as LF.
  const formIsRaw = transport === 'jsonp-polling' && release.version === '0.7.11';
  const texts = TEXTS.filter((text) => canRead(release, text) && !(formIsRaw && text.includes('\r')));

  test('is connected over the transport that was asked for', async (t) => {
    const client = await connect(t);
    assert.equal(await client.transport(), transport);
    assert.match(await client.sessionId(), /^[0-9A-Za-z_-]{15,}$/);
    const [who] = await client.ask('whoami');
    const kind = transport === 'websocket' ? 'websocket' : 'polling';
    assert.deepEqual([who.ns, who.transport, who.token], ['/', kind, null]);
    assert.equal(who.id, await client.sessionId());
  });

  test('text comes back as it went', async (t) => {
    const client = await connect(t);
    for (const text of texts) await client.send(text);
    assert.deepEqual((await client.takeAll('message', texts.length)).map(([text]) => text), texts);
  });

  test('JSON comes back as JSON', async (t) => {
    const client = await connect(t);
    for (const value of JSON_VALUES) await client.send(value);
    assert.deepEqual((await client.takeAll('message', JSON_VALUES.length)).map(([value]) => value), JSON_VALUES);
  });

  test('events with no, one and several arguments', async (t) => {
    const client = await connect(t);
    const events = [[], [null], ['é€😀♥', 1, { a: [true, {}] }], [[]], [TEXTS], JSON_VALUES];
    for (const args of events) await client.emit('echo', ...args);
    assert.deepEqual(await client.takeAll('echo', events.length), events);
  });

  test('acknowledgements, of events and of messages', async (t) => {
    const client = await connect(t);
    assert.deepEqual(await client.ask('echo-ack', 'é€😀♥', { n: 1 }, [2]), ['é€😀♥', { n: 1 }, [2]]);
    assert.deepEqual(await client.ask('echo-ack'), []);
    assert.deepEqual(await client.sendAsked('received?'), []);
    assert.deepEqual(await client.take('message'), ['received?']);
    await client.emit('ask-me', { what: '♥' });
    assert.deepEqual(await client.take('answer'), [{ what: '♥' }]);
  });

  test('namespaces on one connection', async (t) => {
    const client = await connect(t);
    const tenant = await client.also(own);
    await tenant.take('connect');
    await tenant.emit('echo', 'in the tenant');
    await client.emit('echo', 'in the root');
    assert.deepEqual(await tenant.take('echo'), ['in the tenant']);
    assert.deepEqual(await client.take('echo'), ['in the root']);
    assert.deepEqual(await tenant.ask('echo-ack', 1), [1]);
    await tenant.send('text');
    assert.deepEqual(await tenant.take('message'), ['text']);
    await tenant.emit('bye');
    await tenant.take('disconnect');
    assert.deepEqual(await client.ask('echo-ack', 'alive'), ['alive']);
    assert.equal(await client.count('disconnect'), 0);
  });

  test('a namespace that is left is silent, and can be joined again', async (t) => {
    const client = await connect(t);
    const tenant = await client.also(own);
    const other = await connect(t, { ns: own });
    await tenant.take('connect');
    await tenant.leave();
    await client.ask('echo-ack', 'the server has read that');
    await other.emit('cast', 'to whoever is there');
    await other.ask('echo-ack', 'and that');
    await client.ask('echo-ack', 'once around');
    assert.equal(await tenant.count('cast'), 0);
  });

  test('who may join: refused namespaces fail, and the connection lives', async (t) => {
    const client = await connect(t);
    for (const namespace of ['/admin', '/admin?token=wrong', '/nowhere']) {
      const refused = await client.also(namespace);
      assert.deepEqual(await refused.take('connect_failed'), ['unauthorized']);
    }
    const admitted = await client.also('/admin?token=secret');
    await admitted.take('connect');
    const [who] = await admitted.ask('whoami');
    assert.deepEqual([who.ns, who.token], ['/admin', 'secret']);
    assert.deepEqual(await client.ask('echo-ack', 'alive'), ['alive']);
  });

  test('auth by the query of the handshake', async (t) => {
    const refused = await start(t, { query: '?token=reject' });
    assert.deepEqual(await refused.take('error'), ['handshake unauthorized']);
    assert.equal(await refused.count('connect'), 0);
    const slow = await connect(t, { query: '?token=slow' });
    const [who] = await slow.ask('whoami');
    assert.equal(who.token, 'slow');
    const secret = await connect(t, { query: '?token=secret' });
    const admin = await secret.also('/admin');
    await admin.take('connect');
  });

  test('bursts keep their order, both ways', async (t) => {
    const client = await connect(t);
    await client.emit('burst', 300, 50);
    const burst = await client.takeAll('burst', 300);
    assert.deepEqual(burst, Array.from({ length: 300 }, (_, index) => [index, 'x'.repeat(50)]));
    assert.deepEqual(await client.take('burst-end'), [300]);
    const sent = Array.from({ length: 300 }, (_, index) => `😀 ${index}`);
    await client.page.evaluate(([at, all]) => all.forEach((text) => window.interop.call(at, 'send', [text])), [client.at, sent]);
    assert.deepEqual((await client.takeAll('message', 300)).map(([text]) => text), sent);
  });

  test('big payloads', async (t) => {
    const client = await connect(t);
    const long = 'é€😀'.repeat(20_000);
    await client.emit('echo', long);
    assert.ok((await client.take('echo'))[0] === long);
    await client.send(long);
    assert.ok((await client.take('message'))[0] === long);
    const [bytes] = await client.ask('big', 500_000);
    assert.equal(bytes.length, 500_000);
  });

  for (const farewell of ['bye', 'bye-all']) {
    test(`${farewell}: what was said before arrives, and a client that is told to go stays away`, async (t) => {
      const client = await connect(t);
      await client.emit('burst', 20, 10);
      await client.emit(farewell);
      assert.deepEqual(await client.take('burst-end'), [20]);
      assert.deepEqual(await client.take('disconnect'), ['booted']);
      await sleep(400);
      assert.equal(await client.count('reconnecting'), 0);
      assert.equal(await client.count('connect'), 0);
    });
  }

  test('the client disconnects', async (t) => {
    const client = await connect(t);
    await client.close();
    assert.deepEqual(await client.take('disconnect'), ['booted']);
    await sleep(400);
    assert.equal(await client.count('connect'), 0);
  });

  if (transport !== 'jsonp-polling') {
    test('a lost transport: the client comes back with a new session and joins its namespaces again', async (t) => {
      // The client tries to reconnect again before the first try has been answered, and it fails when both tries are
      // answered. The second try follows the first after twice the delay. So twice the delay must be longer than any
      // answer takes.
      const delay = { 'reconnection delay': 2000 };
      const client = await connect(t, { ...delay, patience: release.version === '0.7.11' ? 5000 : undefined });
      const first = await client.sessionId();
      const tenant = await client.also(own);
      await tenant.take('connect');
      await client.drop();
      await client.take('disconnect');
      await client.take('reconnect');
      await client.take('connect');
      await tenant.take('connect');
      assert.notEqual(await client.sessionId(), first);
      assert.deepEqual(await client.ask('echo-ack', 'again'), ['again']);
      assert.deepEqual(await tenant.ask('echo-ack', 'again'), ['again']);
    });
  }

  if (release.version === '0.9.17') {
    test('the beacon of a page that goes ends the session', async (t) => {
      const witness = await connect(t, { ns: own });
      const leaver = await connect(t, { ns: own });
      await leaver.beacon();
      await witness.emit('cast', 'anybody?');
      await witness.ask('echo-ack', 'the server has read that');
      assert.equal(await leaver.count('cast'), 0);
    });
  }
}

const silent = ({ transport, connect }) => {
  const silence = transport === 'websocket' ? HEARTBEAT_INTERVAL * 4 + 1000 : POLL_DURATION + 4000;
  test(`stays connected, silent for ${silence} ms`, async (t) => {
    const client = await connect(t);
    await sleep(silence);
    assert.deepEqual(await client.ask('echo-ack', 'still here'), ['still here']);
    assert.equal(await client.count('disconnect'), 0);
  });
};

// The silent clients wait while the others run.
describe('0.7 to 0.9', { concurrency: 7 }, () => {
  describe('silent', { concurrency: true }, () => eachOldClient(browser, RELEASES, silent));
  eachOldClient(browser, RELEASES, suite);
});
