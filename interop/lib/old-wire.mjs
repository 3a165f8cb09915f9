// Sessions of 0.6 and of 0.7 to 0.9 without a genuine client: they send exactly what the test says, and split what
// arrives into packets.

import assert from 'node:assert/strict';
import { request } from './http.mjs';
import { RawSocket } from './rawsocket.mjs';
import { base } from './target.mjs';
import { sleep } from './wait.mjs';

const MARK = '\ufffd';

/** One packet, or framed ones: U+FFFD, the length, U+FFFD, the packet. Lengths count UTF-16 code units, as strings do here. */
export function colonPackets(payload) {
  if (!payload.startsWith(MARK)) return payload === '' ? [] : [payload];
  const packets = [];
  for (let rest = payload; rest !== '';) {
    const [, length] = rest.split(MARK, 2);
    const start = length.length + 2;
    packets.push(rest.slice(start, start + Number(length)));
    rest = rest.slice(start + Number(length));
  }
  return packets;
}

/** The bodies of `~m~` frames. */
export function tildeFrames(payload) {
  const frames = [];
  for (let rest = payload; rest !== '';) {
    const head = /^~m~(\d+)~m~/.exec(rest);
    if (!head) throw new Error(`no frame begins ${rest.slice(0, 40)}`);
    const end = head[0].length + Number(head[1]);
    frames.push(rest.slice(head[0].length, end));
    rest = rest.slice(end);
  }
  return frames;
}

export const tilde = (...bodies) => bodies.map((body) => `~m~${body.length}~m~${body}`).join('');

/** A session over polling. It polls until it has enough packets. */
class Polling {
  constructor({ sid, poll, send, read, dress }) {
    Object.assign(this, { sid, pollUrl: poll, sendUrl: send, read, dress });
  }

  /** Posts this payload, and returns the answer. */
  post(payload) {
    const { body, headers } = this.dress(payload);
    return request('POST', this.sendUrl, { body, headers });
  }

  poll() {
    return request('GET', this.pollUrl());
  }

  async send(payload) {
    const answer = await this.post(payload);
    if (answer.status !== 200) throw new Error(`the POST of ${payload} was answered ${answer.status} ${answer.body}`);
  }

  /** Everything that arrives until this packet arrives. */
  async hearUntil(last) {
    const heard = [];
    for (let polls = 0; polls < 20 && !heard.includes(last); polls += 1) {
      const answer = await this.poll();
      if (answer.status !== 200) throw new Error(`the poll was answered ${answer.status} ${answer.body}`);
      heard.push(...this.read(answer.body));
    }
    return heard;
  }
}

/** A session over websocket, with the same methods. */
class OnWebSocket {
  constructor(socket, read) {
    this.socket = socket;
    this.read = read;
  }

  async send(payload) {
    this.socket.send(payload);
  }

  async hearUntil(last) {
    const heard = [];
    for (let messages = 0; messages < 200 && !heard.includes(last); messages += 1) {
      const message = await this.socket.next();
      if (typeof message !== 'string') throw new Error(`instead of ${last} came ${JSON.stringify(message)}`);
      heard.push(...this.read(message));
    }
    return heard;
  }
}

/** The session id in the answer to a handshake of 0.7 to 0.9. */
export async function colonHandshake(query = '') {
  const answer = await request('GET', `${base}/socket.io/1/${query}`);
  if (answer.status !== 200) throw new Error(`the handshake was answered ${answer.status} ${answer.body}`);
  return answer.body.split(':')[0];
}

export const colonUrl = (transport, sid, query = '') => `${base}/socket.io/1/${transport}/${sid}${query}`;

/** A session of 0.7 to 0.9 over xhr-polling that has received `1::`. It disconnects when the test ends. */
export async function colonPolling(t) {
  const sid = await colonHandshake();
  const url = colonUrl('xhr-polling', sid);
  const dress = (body) => ({ body, headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  const session = new Polling({ sid, poll: () => url, send: url, read: colonPackets, dress });
  await session.hearUntil('1::');
  t.after(() => request('GET', `${base}/socket.io/1//${sid}/?disconnect=1`));
  return session;
}

/** A session of 0.7 to 0.9 over websocket. */
export async function colonWebSocket(t) {
  const sid = await colonHandshake();
  const socket = new RawSocket(`/socket.io/1/websocket/${sid}`);
  t.after(() => socket.cut());
  const session = new OnWebSocket(socket, (message) => [message]);
  await session.hearUntil('1::');
  return Object.assign(session, { sid });
}

export const tildeForm = (payload) => ({
  body: `data=${encodeURIComponent(payload)}`,
  headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
});

/**
 * A wire of the 0.6 family: its path, the function that reads its payloads, and the function that finds the session id
 * in the first payload. Sessions of all these wires are opened, polled and written to in the same way.
 */
const TILDE = { path: '/socket.io', read: tildeFrames, id: ([frame]) => frame };

/** A session over xhr-polling that knows its id. */
export async function plainPolling({ path, read, id }) {
  const opened = await request('GET', `${base}${path}/xhr-polling//${Date.now()}`);
  if (opened.status !== 200) throw new Error(`a new session was answered ${opened.status} ${opened.body}`);
  const sid = id(read(opened.body));
  const url = `${base}${path}/xhr-polling/${sid}`;
  return new Polling({ sid, poll: () => `${url}/${Date.now()}`, send: `${url}/send`, read, dress: tildeForm });
}

/** A session over websocket that knows its id. */
export async function plainWebSocket(t, { path, read, id }) {
  const socket = new RawSocket(`${path}/websocket`);
  t.after(() => socket.cut());
  const sid = id(read(await socket.next()));
  return Object.assign(new OnWebSocket(socket, read), { sid });
}

/** A session of 0.6. */
export const tildePolling = () => plainPolling(TILDE);
export const tildeWebSocket = (t) => plainWebSocket(t, TILDE);

/**
 * A session of 0.6 whose connection was just cut goes on with polls. Until the server notices the cut, it writes to the
 * old connection. This wire confirms nothing, so these messages may be lost. After that, everything arrives in order.
 */
export async function resumesByPolling({ poll, say }, enough = 20) {
  const said = [];
  const heard = [];
  const polls = (async () => {
    while (heard.length < enough) {
      const { status, body } = await poll();
      assert.equal(status, 200);
      heard.push(...tildeFrames(body).filter((text) => !text.startsWith('~h~')));
    }
  })();
  polls.catch(() => {}); // it is awaited below
  while (heard.length < enough && said.length < 3 * enough) {
    said.push(`while nobody listens ${said.length}`);
    await say(said.at(-1));
    await sleep(50);
  }
  await polls;
  const first = said.indexOf(heard[0]);
  assert.deepEqual(heard, said.slice(first, first + heard.length));
}
