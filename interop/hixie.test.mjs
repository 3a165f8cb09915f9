// WebSocket of 2010, which no present browser speaks, byte by byte from docs/protocol/legacy-0.6.md §10.1 and §11: hixie-75, hixie-76,
// the drafts 7 and 8, the path of the Flash plugin, and the policy file that it asks for.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { digest, Hixie, KEYS, openHixie, requestHead } from './lib/hixie.mjs';
import { isBack, level } from './lib/level.mjs';
import { colonHandshake, tilde, tildeFrames } from './lib/old-wire.mjs';
import { connect } from './lib/peer.mjs';
import { base, port, settings, stats } from './lib/target.mjs';
import { head, Tcp } from './lib/tcp.mjs';
import { TEXTS } from './lib/texts.mjs';

const OLD_PATHS = ['/socket.io/websocket', '/socket.io/flashsocket'];
const NEW_PATHS = ['/socket.io/1/websocket/', '/socket.io/1/flashsocket/'];
const DRAFTS = [75, 76];

/** A session of 0.6 that knows its id. */
async function tildeSession(t, draft, path = OLD_PATHS[0]) {
  const hixie = await openHixie(t, path, draft);
  const [sid] = tildeFrames(await hixie.next());
  assert.match(sid, /^[0-9A-Za-z]{8,}$/);
  return Object.assign(hixie, { sid });
}

/** A session of 0.7 to 0.9 that has heard `1::`. */
async function colonSession(t, draft, path = NEW_PATHS[0]) {
  const hixie = await openHixie(t, path + (await colonHandshake()), draft);
  assert.equal(await hixie.next(), '1::');
  return hixie;
}

const isNoHeartbeat = (text) => text !== '2::' && !/^~m~\d+~m~~h~/.test(text);

async function assertUp() {
  assert.equal(typeof (await stats()).sessions, 'number');
}

describe('the handshake', () => {
  test('the vector of the document is what the digest here says, too', () => {
    assert.equal(digest(KEYS), KEYS.digest);
  });

  for (const path of OLD_PATHS) {
    test(`76 on ${path}: the answer line by line, and the digest`, async (t) => {
      const tcp = new Tcp(t);
      tcp.write(requestHead(path, { ...KEYS, lines: ['Sec-WebSocket-Protocol: sample'] }), KEYS.body);
      const { status, headers } = await head(tcp);
      assert.equal(status, 'HTTP/1.1 101 WebSocket Protocol Handshake');
      assert.equal(headers.upgrade, 'WebSocket');
      assert.equal(headers.connection, 'Upgrade');
      assert.equal(headers['sec-websocket-origin'], base);
      assert.equal(headers['sec-websocket-location'], `ws://127.0.0.1:${port}${path}`);
      assert.equal((await tcp.take(16)).toString('latin1'), KEYS.digest);
      assert.match(await new Hixie(tcp).next(), /^~m~\d+~m~[0-9A-Za-z]+$/);
    });

    test(`75 on ${path}: the answer line by line`, async (t) => {
      const tcp = new Tcp(t);
      tcp.write(requestHead(path));
      const { status, headers } = await head(tcp);
      assert.equal(status, 'HTTP/1.1 101 Web Socket Protocol Handshake');
      assert.equal(headers.upgrade, 'WebSocket');
      assert.equal(headers['websocket-origin'], base);
      assert.equal(headers['websocket-location'], `ws://127.0.0.1:${port}${path}`);
      assert.match(await new Hixie(tcp).next(), /^~m~\d+~m~[0-9A-Za-z]+$/);
    });
  }

  test('the eight bytes come when the head of the answer has come', async (t) => {
    const tcp = new Tcp(t);
    tcp.write(requestHead(OLD_PATHS[0], KEYS));
    assert.match((await head(tcp)).status, / 101 /);
    tcp.write(KEYS.body.slice(0, 3));
    tcp.write(KEYS.body.slice(3));
    assert.equal((await tcp.take(16)).toString('latin1'), KEYS.digest);
    const hixie = new Hixie(tcp);
    await hixie.next();
    hixie.send(tilde('late'));
    assert.deepEqual(tildeFrames(await hixie.next()), ['late']);
  });

  test('byte by byte', async (t) => {
    const tcp = new Tcp(t);
    for (const byte of Buffer.from(requestHead(OLD_PATHS[0], KEYS) + KEYS.body, 'latin1')) tcp.write(Buffer.from([byte]));
    await head(tcp);
    assert.equal((await tcp.take(16)).toString('latin1'), KEYS.digest);
  });

  test('other keys have other digests', async (t) => {
    for (const [key1, key2, body] of [['3e6b263  4 17 80', '17  9 G`ZD9   2 2b 7X 3 /r90', 'WjN}|M(6'], ['1 0', '4294 967295', '\u0000\u00ff23456\n']]) {
      const tcp = new Tcp(t);
      tcp.write(requestHead(OLD_PATHS[0], { key1, key2 }), Buffer.from(body, 'latin1'));
      assert.match((await head(tcp)).status, / 101 /);
      assert.equal((await tcp.take(16)).toString('latin1'), digest({ key1, key2, body }));
    }
  });

  const BAD_KEYS = [
    ['without a space', '12345'],
    ['without a digit', 'a b c'],
    ['that do not divide by their spaces', '1  1'],
    ['beyond 32 bits', '9999 9999999'],
  ];
  for (const [what, key1] of BAD_KEYS) {
    test(`keys ${what} are refused`, async (t) => {
      const tcp = new Tcp(t);
      tcp.write(requestHead(OLD_PATHS[0], { ...KEYS, key1 }), KEYS.body);
      const answer = (await tcp.takeAll()).toString();
      assert.ok(answer === '' || /^HTTP\/1\.1 400 /.test(answer), answer.slice(0, 60));
      await assertUp();
    });
  }

  for (const version of [7, 8]) {
    test(`draft ${version} is RFC 6455 under another number`, async (t) => {
      const tcp = new Tcp(t);
      const lines = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Sec-WebSocket-Version: ${version}`, `Sec-WebSocket-Origin: ${base}`];
      tcp.write([`GET ${NEW_PATHS[0]}${await colonHandshake()} HTTP/1.1`, `Host: 127.0.0.1:${port}`, ...lines, '', ''].join('\r\n'));
      const { status, headers } = await head(tcp);
      assert.equal(status.slice(0, 12), 'HTTP/1.1 101');
      assert.equal(headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
      assert.deepEqual([...(await tcp.take(5))], [0x81, 3, ...Buffer.from('1::')]);
    });
  }
});

for (const draft of DRAFTS) {
  describe(`hixie-${draft}`, { concurrency: true }, () => {
    for (const path of OLD_PATHS) {
      test(`${path}: text comes back as it went`, async (t) => {
        const hixie = await tildeSession(t, draft, path);
        for (const text of TEXTS) {
          hixie.send(tilde(text));
          assert.deepEqual(tildeFrames(await hixie.find(isNoHeartbeat)), [text]);
        }
      });
    }

    for (const path of NEW_PATHS) {
      test(`${path}: packets come back as they went`, async (t) => {
        const hixie = await colonSession(t, draft, path);
        hixie.send('5:1+::{"name":"echo-ack","args":["é€😀♥"]}');
        assert.equal(await hixie.find(isNoHeartbeat), '6:::1+["é€😀♥"]');
        hixie.send('1::/tenant-1');
        assert.equal(await hixie.find(isNoHeartbeat), '1::/tenant-1');
        hixie.send('5:::{"name":"bye"}');
        assert.equal(await hixie.find(isNoHeartbeat), '0::');
        await hixie.tcp.takeAll();
      });
    }

    test('frames in any pieces, and many in one', async (t) => {
      const hixie = await tildeSession(t, draft);
      for (const byte of Hixie.frame(tilde('é€😀'))) hixie.tcp.write(Buffer.from([byte]));
      assert.deepEqual(tildeFrames(await hixie.find(isNoHeartbeat)), ['é€😀']);
      const many = Array.from({ length: 200 }, (_, index) => `${index}`);
      hixie.tcp.write(Buffer.concat(many.map((text) => Hixie.frame(tilde(text)))));
      const heard = [];
      while (heard.length < many.length) heard.push(...tildeFrames(await hixie.find(isNoHeartbeat)));
      assert.deepEqual(heard, many);
    });

    test('300 000 bytes', async (t) => {
      const hixie = await tildeSession(t, draft);
      const long = 'é€'.repeat(60_000);
      hixie.send(tilde(long));
      assert.ok(tildeFrames(await hixie.find(isNoHeartbeat))[0] === long);
    });

    test('heartbeats over three intervals', async (t) => {
      const [six, nine] = [await tildeSession(t, draft), await colonSession(t, draft)];
      for (let beat = 1; beat <= 3; beat += 1) {
        const text = await six.next();
        assert.equal(text, tilde(`~h~${beat}`));
        six.send(text);
        assert.equal(await nine.next(), '2::');
        nine.send('2::');
      }
      six.send(tilde('still here'));
      assert.deepEqual(tildeFrames(await six.find(isNoHeartbeat)), ['still here']);
    });

    const ENDS = [
      ['the closing handshake', [0xff, 0x00]],
      ['a binary frame', [0x80, 0x02, 0x61, 0x62]],
      ['a frame of another kind', [0x42]],
      ['text that is no UTF-8', [0x00, 0xc3, 0x28, 0xff]],
    ];
    for (const [what, bytes] of ENDS) {
      test(`${what} ends the connection, and that alone`, async (t) => {
        const other = await tildeSession(t, draft);
        const hixie = await tildeSession(t, draft);
        hixie.tcp.write(Buffer.from(bytes));
        await hixie.tcp.takeAll();
        other.send(tilde('alive'));
        assert.deepEqual(tildeFrames(await other.find(isNoHeartbeat)), ['alive']);
      });
    }

    test('a text longer than the server takes ends the connection', async (t) => {
      const hixie = await tildeSession(t, draft);
      hixie.tcp.write(Buffer.from([0]), 'x'.repeat(settings.maxPayload + 100));
      await hixie.tcp.takeAll();
      await assertUp();
    });
  });
}

// These tests broadcast to every client. So they do not run at the same time as the other tests.
for (const draft of DRAFTS) {
  test(`hixie-${draft} hears what a client of today says, and is heard`, async (t) => {
    const [six, nine] = [await tildeSession(t, draft), await colonSession(t, draft)];
    const today = await connect(t, newest, { transports: TRANSPORTS.websocket });
    const words = 'é€😀♥';
    today.emit('cast', words);
    assert.deepEqual(JSON.parse(tildeFrames(await six.find(isNoHeartbeat))[0].slice(3)), { event: 'cast', args: [words] });
    assert.deepEqual(JSON.parse((await nine.find(isNoHeartbeat)).slice(4)), { name: 'cast', args: [words] });
    nine.send(`5:::${JSON.stringify({ name: 'cast', args: [words] })}`);
    assert.deepEqual(await today.take('cast'), [words]);
  });
}

test('nothing is left of websockets of 2010 that are cut', async (t) => {
  const start = await level();
  const cut = [];
  for (const draft of [75, 76]) {
    cut.push(await openHixie(t, '/socket.io/websocket', draft), await openHixie(t, `/socket.io/1/websocket/${await colonHandshake()}`, draft));
  }
  cut.forEach(({ tcp }) => tcp.cut());
  await isBack(start, 'cut websockets', 20_000);
});

describe('the policy file of Flash', () => {
  const REQUEST = '<policy-file-request/>\0';

  function assertIsPolicy(text) {
    assert.match(text, /^<\?xml version="1\.0"\?>\n?<!DOCTYPE cross-domain-policy SYSTEM /);
    assert.match(text, /<cross-domain-policy>[^]*<allow-access-from domain="[^"]+" to-ports="[^"]+"\s*\/>[^]*<\/cross-domain-policy>\0?\n?$/);
  }

  test('is given on the port of everything else, and the connection closed', async (t) => {
    const tcp = new Tcp(t);
    tcp.write(REQUEST);
    assertIsPolicy((await tcp.takeAll()).toString());
  });

  test('however the request is cut', async (t) => {
    const tcp = new Tcp(t);
    for (const character of REQUEST) tcp.write(character);
    assertIsPolicy((await tcp.takeAll()).toString());
  });

  test('what only begins like one is no request', async (t) => {
    const tcp = new Tcp(t);
    tcp.write('<policy-file-request/>!');
    const answer = (await tcp.takeAll()).toString();
    assert.ok(!answer.includes('cross-domain-policy'), answer);
    await assertUp();
  });
});
