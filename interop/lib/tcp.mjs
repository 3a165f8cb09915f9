// A plain TCP connection: it sends bytes exactly as written, and reads by length or up to a mark.

import net from 'node:net';
import { port } from './target.mjs';
import { within } from './wait.mjs';

export class Tcp {
  #received = Buffer.alloc(0);
  #closed = false;
  #wake = () => {};

  constructor(t, to = port) {
    this.socket = net.connect(to, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    this.socket.on('error', () => {}); // followed by close
    this.socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
    t.after(() => this.cut());
  }

  write(...parts) {
    for (const part of parts) this.socket.write(part);
  }

  /** Reads this number of bytes. */
  take(count, ms) {
    return this.#wait(`${count} bytes`, () => (this.#received.length >= count ? count : 0), ms);
  }

  /** Reads up to this mark, and returns everything including the mark. */
  takeUntil(mark, ms) {
    const find = () => {
      const at = this.#received.indexOf(mark);
      return at < 0 ? 0 : at + Buffer.byteLength(mark);
    };
    return this.#wait(JSON.stringify(mark.toString()), find, ms);
  }

  /** Reads until the server closes. */
  async takeAll(ms) {
    await this.#wait('the server to close', () => (this.#closed ? -1 : 0), ms);
    return this.#cut(this.#received.length);
  }

  cut() {
    this.socket.destroy();
  }

  async #wait(what, ready, ms = 10_000) {
    const arrival = (async () => {
      for (;;) {
        const count = ready();
        if (count > 0) return this.#cut(count);
        if (count < 0) return undefined;
        if (this.#closed) throw new Error(`${what}: the connection was closed after ${this.#tail()}`);
        await new Promise((resolve) => { this.#wake = resolve; });
      }
    })();
    return within(arrival, () => `${what}, after ${this.#tail()}`, ms);
  }

  #cut(count) {
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return taken;
  }

  #tail() {
    return JSON.stringify(this.#received.subarray(-200).toString('latin1'));
  }
}

/** Sends a GET with these header lines and returns the head of the answer, as text. */
export async function get(tcp, path, ...lines) {
  tcp.write([`GET ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, ...lines, '', ''].join('\r\n'));
  return head(tcp);
}

/** The head of an answer: its status line and its headers, whose names are in lower case. */
export async function head(tcp) {
  const [status, ...lines] = (await tcp.takeUntil('\r\n\r\n')).toString().trimEnd().split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  return { status, headers };
}
