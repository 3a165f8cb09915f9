// The transports that stream, byte by byte: htmlfile and xhr-multipart from docs/protocol/legacy-0.6.md §8 and §9 and legacy-0.9.md §8.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { request } from './lib/http.mjs';
import { colonHandshake, colonPackets, colonUrl, resumesByPolling, tilde, tildeForm, tildeFrames } from './lib/old-wire.mjs';
import { connect } from './lib/peer.mjs';
import { base } from './lib/target.mjs';
import { get, Tcp } from './lib/tcp.mjs';
import { OBJECTS, TEXTS } from './lib/texts.mjs';

/** A stream whose events are payloads. `next` takes one packet or frame out of them. */
class Stream {
  constructor(tcp, next, read) {
    this.tcp = tcp;
    this.payload = next;
    this.read = read;
    this.waiting = [];
  }

  /** The next packet or frame. */
  async next() {
    while (this.waiting.length === 0) this.waiting.push(...this.read(await this.payload(this.tcp)));
    return this.waiting.shift();
  }

  /** The next packet or frame that is not a heartbeat. */
  async message() {
    for (;;) {
      const packet = await this.next();
      if (packet !== '2::' && !packet.startsWith('~h~')) return packet;
    }
  }
}

async function chunk(tcp) {
  const size = parseInt((await tcp.takeUntil('\r\n', 30_000)).toString(), 16);
  const bytes = await tcp.take(size + 2);
  return bytes.subarray(0, size).toString();
}

/** Waits for the end of a chunked body, which is an empty chunk. */
async function lastChunk(tcp) {
  for (let chunks = 0; chunks < 100; chunks += 1) if ((await chunk(tcp)) === '') return;
  throw new Error('a hundred chunks, and no end');
}

/** The string literal in a script, read as a browser reads it. */
const literal = (text, before, after) => {
  assert.ok(text.startsWith(before) && text.endsWith(after), `${text.slice(0, 60)} … ${text.slice(-30)}`);
  const inside = text.slice(before.length, -after.length);
  assert.doesNotMatch(inside, /<\/|[\u2028\u2029]/, 'what would end a script or a line is escaped');
  return JSON.parse(inside);
};

const scriptOf06 = async (tcp) => literal(await chunk(tcp), '<script>parent.s._(', ', document);</script>');
const scriptOf09 = async (tcp) => literal(await chunk(tcp), '<script>_(', ');</script>');

async function part(tcp) {
  const text = (await tcp.takeUntil('\n--socketio\n')).toString();
  const [, payload] = /^Content-Type: text\/plain\r?\n\r?\n([^]*)\n--socketio\n$/.exec(text) ?? assert.fail(`no part: ${text}`);
  return payload;
}

/** htmlfile of 0.6: the session knows its id. */
async function htmlfile06(t, headers = []) {
  const tcp = new Tcp(t);
  const { status, headers: answer } = await get(tcp, `/socket.io/htmlfile//${Date.now()}`, ...headers);
  assert.equal(status, 'HTTP/1.1 200 OK');
  assert.match(answer['content-type'], /^text\/html\b/);
  assert.equal(answer['transfer-encoding'], 'chunked');
  assert.equal(await chunk(tcp), `<html><body>${' '.repeat(244)}`);
  const stream = new Stream(tcp, scriptOf06, tildeFrames);
  stream.ended = () => lastChunk(tcp);
  return announced(stream, 'htmlfile');
}

async function multipart(t, headers = []) {
  const tcp = new Tcp(t);
  const { status, headers: answer } = await get(tcp, '/socket.io/xhr-multipart/', ...headers);
  assert.equal(status, 'HTTP/1.1 200 OK');
  assert.match(answer['content-type'], /^multipart\/x-mixed-replace; ?boundary="socketio"$/);
  assert.ok(!('content-length' in answer) && !('transfer-encoding' in answer), 'the parts stand on the connection as they are');
  assert.match((await tcp.takeUntil('\n')).toString(), /^--socketio\r?\n$/);
  const stream = new Stream(tcp, part, tildeFrames);
  stream.ended = () => tcp.takeAll(30_000);
  return announced(stream, 'xhr-multipart');
}

async function announced(stream, transport) {
  stream.sid = await stream.next();
  assert.match(stream.sid, /^[0-9A-Za-z]{8,}$/);
  stream.send = async (...bodies) => {
    const { body, headers } = tildeForm(tilde(...bodies));
    const answer = await request('POST', `${base}/socket.io/${transport}/${stream.sid}/send`, { body, headers });
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
  };
  return stream;
}

/** htmlfile of 0.7 to 0.9: the session has heard `1::`. */
async function htmlfile09(t) {
  const tcp = new Tcp(t);
  const sid = await colonHandshake();
  const stream = new Stream(tcp, scriptOf09, colonPackets);
  await head09(tcp, sid);
  assert.equal(await stream.next(), '1::');
  stream.sid = sid;
  stream.send = async (packet) => {
    const answer = await request('POST', colonUrl('htmlfile', sid), { body: packet, headers: { 'content-type': 'text/plain;charset=UTF-8' } });
    assert.deepEqual([answer.status, answer.body], [200, '1']);
  };
  return stream;
}

async function head09(tcp, sid) {
  const { status, headers } = await get(tcp, `/socket.io/1/htmlfile/${sid}?t=${Date.now()}`);
  assert.equal(status, 'HTTP/1.1 200 OK');
  assert.equal(headers['content-type'].toLowerCase(), 'text/html; charset=utf-8');
  assert.equal(headers['transfer-encoding'], 'chunked');
  const opening = '<html><body><script>var _ = function (msg) { parent.s._(msg, document); };</script>';
  assert.equal(await chunk(tcp), opening + ' '.repeat(173));
}

for (const [name, open] of [['htmlfile', htmlfile06], ['xhr-multipart', multipart]]) {
  describe(`0.6 over ${name}`, { concurrency: true }, () => {
    test('text and JSON come back as they went', async (t) => {
      const stream = await open(t);
      for (const text of TEXTS) {
        await stream.send(text);
        assert.equal(await stream.message(), text);
      }
      for (const object of OBJECTS) {
        await stream.send(`~j~${JSON.stringify(object)}`);
        assert.deepEqual(JSON.parse((await stream.message()).slice(3)), object);
      }
    });

    test('a burst keeps its order', async (t) => {
      const stream = await open(t);
      const burst = Array.from({ length: 300 }, (_, index) => `😀 ${index}`);
      await stream.send(...burst);
      for (const text of burst) assert.equal(await stream.message(), text);
    });

    test('200 000 characters', async (t) => {
      const stream = await open(t);
      const long = 'é€'.repeat(33_000);
      await stream.send(long);
      assert.ok((await stream.message()) === long);
    });

    test('heartbeats over three intervals', async (t) => {
      const stream = await open(t);
      for (let beat = 1; beat <= 3; beat += 1) {
        assert.equal(await stream.next(), `~h~${beat}`);
        await stream.send(`~h~${beat}`);
      }
      await stream.send('still here');
      assert.equal(await stream.message(), 'still here');
    });

    test('without an echo of its heartbeat the stream ends', async (t) => {
      const stream = await open(t);
      await stream.ended();
    });

    test('the session outlives a stream that is cut: polls go on where it ended', async (t) => {
      const stream = await open(t);
      stream.tcp.cut();
      await resumesByPolling({
        poll: () => request('GET', `${base}/socket.io/xhr-polling/${stream.sid}/${Date.now()}`),
        say: (text) => stream.send(text),
      });
    });
  });

  // This test broadcasts to every client. So it does not run at the same time as the other tests.
  test(`0.6 over ${name}: hears what a client of today says`, async (t) => {
    const stream = await open(t);
    const today = await connect(t, newest, { transports: TRANSPORTS.websocket });
    today.emit('cast', 'é€😀♥ </script>');
    assert.deepEqual(JSON.parse((await stream.message()).slice(3)), { event: 'cast', args: ['é€😀♥ </script>'] });
  });

  test(`0.6 over ${name}: an unknown session is answered 400`, async () => {
    assert.equal((await request('GET', `${base}/socket.io/${name}/nobody/1`)).status, 400);
  });
}

test('xhr-multipart from another origin', async (t) => {
  const tcp = new Tcp(t);
  const { headers } = await get(tcp, '/socket.io/xhr-multipart/', 'Origin: http://elsewhere.example');
  assert.equal(headers['access-control-allow-origin'], 'http://elsewhere.example');
});

describe('0.7 to 0.9 over htmlfile', { concurrency: true }, () => {
  test('text, JSON and events come back as they went', async (t) => {
    const stream = await htmlfile09(t);
    for (const text of TEXTS) {
      await stream.send(`3:::${text}`);
      assert.equal(await stream.message(), `3:::${text}`);
    }
    for (const object of OBJECTS) {
      await stream.send(`4:::${JSON.stringify(object)}`);
      assert.deepEqual(JSON.parse((await stream.message()).slice(4)), object);
    }
    await stream.send('5:7+::{"name":"echo-ack","args":["é€😀♥"]}');
    assert.equal(await stream.message(), '6:::7+["é€😀♥"]');
  });

  test('heartbeats over three intervals', async (t) => {
    const stream = await htmlfile09(t);
    for (let beat = 1; beat <= 3; beat += 1) {
      assert.equal(await stream.next(), '2::');
      await stream.send('2::');
    }
    await stream.send('3:::still here');
    assert.equal(await stream.message(), '3:::still here');
  });

  test('bye ends the stream', async (t) => {
    const stream = await htmlfile09(t);
    await stream.send('5:::{"name":"bye"}');
    assert.equal(await stream.message(), '0::');
    assert.equal(await chunk(stream.tcp), '', 'the last chunk is empty');
  });

  test('an unknown session is told to come anew, and the stream ends', async (t) => {
    const tcp = new Tcp(t);
    await head09(tcp, 'nobody');
    assert.equal(await scriptOf09(tcp), '7:::1+0');
    assert.equal(await chunk(tcp), '');
  });

  test('a stream that is cut is the end of the session', async (t) => {
    const stream = await htmlfile09(t);
    stream.tcp.cut();
    let body;
    for (let polls = 0; polls < 50 && body !== '7:::1+0'; polls += 1) {
      body = (await request('POST', colonUrl('htmlfile', stream.sid), { body: '3:::x' })).body;
      ({ body } = await request('GET', colonUrl('jsonp-polling', stream.sid, '?i=0')));
      body = /\("(.*)"\)/.exec(body)[1];
    }
    assert.equal(body, '7:::1+0');
  });
});
