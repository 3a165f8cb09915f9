// A plain websocket: it sends messages exactly as the test writes them, and returns them as they come.

import { WebSocket } from 'ws';
import { port } from './target.mjs';
import { within } from './wait.mjs';

export class RawSocket {
  #inbox = [];
  #waiters = [];
  #ended;

  /** `target` is a path, or the parameters of Engine.IO; `at` a port other than the first. */
  constructor(target, { headers, at = port } = {}) {
    const path = typeof target === 'string' ? target : `/socket.io/?${new URLSearchParams(target)}`;
    this.ws = new WebSocket(`ws://127.0.0.1:${at}${path}`, { headers });
    this.ws.on('message', (data, isBinary) => this.#arrived(isBinary ? data : data.toString()));
    this.#ended = new Promise((resolve) => {
      this.ws.on('unexpected-response', (request, response) => {
        request.destroy();
        resolve({ refused: response.statusCode });
      });
      this.ws.on('close', (code) => resolve({ code }));
      this.ws.on('error', () => {}); // followed by close
    });
    this.#ended.then((end) => this.#arrived(end));
  }

  /** The next packet: text as a string, binary as a Buffer. After the end it always returns `{code}` or `{refused}`. */
  next(ms = 5000) {
    const first = this.#inbox[0];
    if (first !== undefined) return Promise.resolve(isEnd(first) ? first : this.#inbox.shift());
    return within(new Promise((resolve) => this.#waiters.push(resolve)), 'a packet on the websocket', ms);
  }

  /** The next packet that is not a heartbeat. Heartbeats are answered. */
  async message(ms = 5000) {
    const deadline = Date.now() + ms;
    for (;;) {
      const packet = await this.next(Math.max(deadline - Date.now(), 1));
      if (packet !== '2') return packet;
      this.send('3');
    }
  }

  /** Waits until the server has closed or refused. */
  outcome(ms = 5000) {
    return within(this.#ended, 'the end of the websocket', ms);
  }

  send(packet) {
    this.ws.send(packet);
  }

  cut() {
    this.ws.terminate();
  }

  #arrived(packet) {
    const waiter = this.#waiters.shift();
    if (waiter) waiter(packet);
    if (!waiter || isEnd(packet)) this.#inbox.push(packet);
  }
}

/** A websocket session of revision 4 that has joined `/`. */
export async function joinedSocket(t) {
  const socket = new RawSocket({ EIO: 4, transport: 'websocket' });
  t.after(() => socket.cut());
  const opened = await socket.next();
  socket.send('40');
  const connected = await socket.message();
  if (!opened.startsWith?.('0{') || !connected.startsWith?.('40{')) throw new Error(`got ${opened} and ${connected}`);
  return socket;
}

const isEnd = (packet) => typeof packet === 'object' && !Buffer.isBuffer(packet);
