// A network that cuts: it forwards connections to the server, and cuts them at random moments and after random bytes.
//
// All cuts are drawn from the seed of the run: when a cut is due, how many bytes pass before it, in which direction they
// are counted, and its kind. The scheduling of the machine decides which bytes these are.

import net from 'node:net';
import { once } from 'node:events';
import { Random } from './random.mjs';

/**
 * The kinds of cuts, each with its weight.
 *
 * - `reset`: both ends get RST.
 * - `end`: both ends get FIN, behind the bytes that have passed.
 * - `near`: the client gets RST. The server learns nothing: its connection is half dead.
 * - `far`: the server gets RST. The client learns nothing, and has to notice the silence.
 * - `stall`: nothing passes any more, and nobody is told.
 */
export const KINDS = Object.freeze({ reset: 35, end: 25, near: 25, far: 7, stall: 8 });

/** How long a connection that is cut without a word is kept, in milliseconds. Then it is reset. */
const KEPT = 20_000;
/** The longest time that a cut waits for its bytes, in milliseconds, unless the caller says another. Then it cuts an idle connection. */
const PATIENCE = 60;
/** The most bytes that pass before a cut. */
const MOST_BYTES = 400;
const GET = Buffer.from('GET ');

export class Cutter {
  #listener;
  #random;
  #pace;
  #patience;
  #kinds;
  #pairs = new Set();
  #all = new Set();
  #silent = new Set();
  #plan;
  #wasSilent = false;
  #timer;
  #refusals = 0;
  #refusal;

  /** How many connections were cut, by kind. */
  counts = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, 0]));

  /**
   * Listens on its own port and ends with the test. It cuts nothing before `begin`. `watch(kind, pair)` is told each cut, and
   * `tap(pair, direction, bytes)` all bytes that come, before they pass or are cut.
   */
  static async start(t, { to, name, pace, patience = PATIENCE, kinds = KINDS, watch, tap } = {}) {
    const cutter = new Cutter();
    cutter.#random = new Random(name);
    cutter.#pace = pace;
    cutter.#patience = patience;
    cutter.#kinds = kinds;
    cutter.watch = watch;
    cutter.tap = tap;
    cutter.#listener = net.createServer((near) => cutter.#join(near, net.connect(to, '127.0.0.1')));
    cutter.#listener.listen(0, '127.0.0.1');
    await once(cutter.#listener, 'listening');
    cutter.port = cutter.#listener.address().port;
    cutter.base = `http://127.0.0.1:${cutter.port}`;
    t.after(() => cutter.end());
    return cutter;
  }

  /** How many connections were cut. */
  get cuts() {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  /** Cuts from now on, one connection about every `pace` milliseconds. */
  begin() {
    if (this.#pace) this.#arm();
  }

  /** Cuts nothing any more. Connections that stall already stay so. */
  rest() {
    clearTimeout(this.#timer);
    this.#plan = undefined;
    this.#pace = undefined;
  }

  /** Resets the connections that were cut without a word, so that their other ends learn of it. */
  reveal() {
    for (const socket of this.#silent) socket.resetAndDestroy();
    this.#silent.clear();
  }

  /** Cuts all connections of now, in this way, and returns how many there were. */
  cutAll(kind) {
    const pairs = [...this.#pairs];
    for (const pair of pairs) this.#cut(pair, kind);
    return pairs.length;
  }

  /** Cuts the connection on which so many more bytes have passed in this direction (`up` or `down`): inside of what comes next. */
  cutAfter(bytes, direction, kind = 'reset') {
    this.#plan = { kind, direction, bytes };
  }

  /** Answers the next GETs of clients itself, with this status line and header lines. The server does not see them. */
  refuse(count, ...lines) {
    this.#refusals = count;
    this.#refusal = [...lines.map((line, index) => (index === 0 ? `HTTP/1.1 ${line}` : line)), 'Content-Length: 0', 'Connection: close', '', ''].join('\r\n');
  }

  end() {
    this.rest();
    this.#listener.close();
    for (const pair of this.#all) {
      pair.near.destroy();
      pair.far.destroy();
    }
  }

  #arm() {
    this.#timer = setTimeout(() => {
      // Two silent cuts in a row are an absence that no server waits for.
      const kinds = this.#wasSilent ? { ...this.#kinds, far: 0, stall: 0 } : this.#kinds;
      const kind = this.#random.weighed(kinds);
      this.#wasSilent = kind === 'far' || kind === 'stall';
      const direction = this.#random.next() < 0.7 ? 'down' : 'up';
      this.#plan = { kind, direction, bytes: this.#random.below(MOST_BYTES) };
      this.#timer = setTimeout(() => this.#cutIdle(), this.#patience);
    }, this.#random.around(this.#pace));
  }

  /**
   * The bytes of a cut do not come. It cuts any connection. If there is none, it does not wait for the next: then each
   * attempt of a client would be cut at its beginning, and 4.8.4 notices a cut before the open packet only by its timeout.
   */
  #cutIdle() {
    const pairs = [...this.#pairs];
    if (pairs.length === 0) {
      this.#plan = undefined;
      this.#arm();
      return;
    }
    this.#carryOut(pairs[this.#random.below(pairs.length)]);
  }

  #carryOut(pair) {
    const { kind } = this.#plan;
    this.#plan = undefined;
    clearTimeout(this.#timer);
    this.#cut(pair, kind);
    if (this.#pace) this.#arm();
  }

  #cut(pair, kind) {
    const { near, far } = pair;
    this.#pairs.delete(pair);
    this.counts[kind] += 1;
    this.watch?.(kind, pair);
    const silent = { near: [far], far: [near], stall: [near, far] }[kind] ?? [];
    for (const socket of [near, far]) {
      if (silent.includes(socket)) {
        this.#silent.add(socket);
        socket.pause();
      } else if (kind === 'end') socket.destroySoon();
      else socket.resetAndDestroy();
    }
    if (silent.length === 0) return;
    const timer = setTimeout(() => {
      for (const socket of silent) {
        this.#silent.delete(socket);
        socket.resetAndDestroy();
      }
    }, KEPT);
    timer.unref();
  }

  #join(near, far) {
    const pair = { near, far };
    this.#pairs.add(pair);
    this.#all.add(pair);
    near.setNoDelay(true);
    far.setNoDelay(true);
    this.#forward(pair, far, near, 'down');
    this.#forward(pair, near, far, 'up');
  }

  #forward(pair, from, to, direction) {
    from.on('data', (bytes) => {
      if (!this.#pairs.has(pair)) return;
      this.tap?.(pair, direction, bytes);
      if (this.#refusals > 0 && direction === 'up' && bytes.subarray(0, 4).equals(GET)) {
        this.#refusals -= 1;
        this.#pairs.delete(pair);
        pair.far.destroy();
        pair.near.end(this.#refusal);
        return;
      }
      const plan = this.#plan?.direction === direction ? this.#plan : undefined;
      if (plan && bytes.length > plan.bytes) {
        to.write(bytes.subarray(0, plan.bytes));
        this.#carryOut(pair);
        return;
      }
      if (plan) plan.bytes -= bytes.length;
      if (!to.write(bytes)) {
        from.pause();
        to.once('drain', () => this.#pairs.has(pair) && from.resume());
      }
    });
    from.on('end', () => this.#pairs.has(pair) && to.end());
    from.on('error', () => {}); // followed by close
    from.on('close', () => {
      // An end that is cut without a word stays as it is.
      if (this.#pairs.delete(pair)) to.destroy();
      if (pair.near.destroyed && pair.far.destroyed) this.#all.delete(pair);
    });
  }
}
