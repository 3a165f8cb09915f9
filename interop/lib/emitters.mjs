// Processes without a server that send to a cluster: ours, and the genuine one.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Emitter } from '@socket.io/redis-emitter';
import { createClient } from 'redis';

const run = promisify(execFile);

/** Our emitter, the program of the examples. Each call is a process. */
export class OurEmitter {
  name = 'our emitter';
  #words;

  constructor(url, kind) {
    if (!process.env.SIO_EMITTER) throw new Error('SIO_EMITTER must name the emitter; `cargo xtask interop` sets it');
    this.#words = ['--redis', url, '--adapter', kind];
  }

  async emit(where, event, ...args) {
    await this.#act(where, '--event', event, '--args', written(args));
  }

  async serverSideEmit(event, ...args) {
    await this.#act({}, '--server-event', event, '--args', written(args));
  }

  async join(where, room) {
    await this.#act(where, '--join', room);
  }

  async leave(where, room) {
    await this.#act(where, '--leave', room);
  }

  async disconnect(where, close) {
    await this.#act(where, '--disconnect', close ? 'connection' : 'namespace');
  }

  async close() {}

  async #act({ of, to, except, volatile }, ...action) {
    const options = Object.entries({ '--of': of, '--to': to, '--except': except, '--volatile': volatile && 'yes' });
    const words = options.filter(([, value]) => value).flat();
    await run(process.env.SIO_EMITTER, [...this.#words, ...words, ...action], { timeout: 20_000 });
  }
}

const written = (args) => JSON.stringify(args, (_, value) => (value?.type === 'Buffer' ? { $b: Buffer.from(value.data).toString('hex') } : value));

/** The genuine emitter, which speaks to the classic adapter. */
export class GenuineEmitter {
  name = 'the genuine emitter';
  #client;
  #emitter;

  static async connected(url) {
    const emitter = new GenuineEmitter();
    emitter.#client = createClient({ url });
    // A Redis that goes away is no failure of the test. The client comes back by itself.
    emitter.#client.on('error', () => {});
    await emitter.#client.connect();
    emitter.#emitter = new Emitter(emitter.#client);
    return emitter;
  }

  async emit(where, event, ...args) {
    this.#chosen(where).emit(event, ...args);
  }

  async serverSideEmit(event, ...args) {
    this.#emitter.serverSideEmit(event, ...args);
  }

  async join(where, room) {
    this.#chosen(where).socketsJoin(room);
  }

  async leave(where, room) {
    this.#chosen(where).socketsLeave(room);
  }

  async disconnect(where, close) {
    this.#chosen(where).disconnectSockets(close);
  }

  async close() {
    if (this.#client.isOpen) await this.#client.disconnect();
  }

  #chosen({ of = '/', to, except, volatile }) {
    let chosen = this.#emitter.of(of).except(except ?? []);
    if (to) chosen = chosen.to(to);
    if (volatile) chosen = chosen.volatile;
    return chosen;
  }
}
