// A server for one test alone, which the test can end and start again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { sleep, until, within } from './wait.mjs';

const program = process.env.SIO_PROGRAM;

export class OwnServer {
  /** How long the next process runs beside the old one before the old one is asked to go, in milliseconds. */
  static OVERLAP = 500;

  #child;

  #options;

  #program;

  constructor(port, options, path = program) {
    this.port = port;
    this.base = `http://127.0.0.1:${port}`;
    this.#options = options;
    this.#program = path;
  }

  /**
   * Starts another server of the kind under test, on its own port, with these options besides. The server is killed when
   * the test ends, if it still runs.
   */
  static async start(t, options = []) {
    if (!program) throw new Error('SIO_PROGRAM must name the conformance server; `cargo xtask interop` sets it');
    const server = new OwnServer(await freePorts(3), options);
    t.after(() => server.#child?.kill('SIGKILL'));
    await server.begin();
    return server;
  }

  /** Starts the server on the same port as before. */
  async begin() {
    const words = ['--runtime', process.env.SIO_RUNTIME ?? 'tokio', '--port', String(this.port), ...this.#options];
    const child = spawn(this.#program, words, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    let printed = '';
    child.stdout.on('data', (text) => { printed += text; });
    await until(() => printed.includes(`listening ${this.port}`), () => `the server to listen; it printed ${JSON.stringify(printed)}`, 20_000);
  }

  /**
   * Starts the next process while this one still runs, asks this one to go, and waits until the next one serves. Both
   * need the option that lets two processes listen on the same ports. The old one may take `ms` milliseconds to end.
   */
  async replace(ms = 20_000) {
    const old = this.#child;
    const begun = this.begin();
    await sleep(OwnServer.OVERLAP);
    const end = once(old, 'exit');
    old.kill('SIGTERM');
    await within(end, 'the end of the old server', ms);
    await begun;
  }

  /** Ends the server with this signal, and returns its exit code: null if the signal itself ended it. */
  async end(signal) {
    const child = this.#child;
    const end = once(child, 'exit');
    child.kill(signal);
    const [code] = await within(end, `the end of the server after ${signal}`, 20_000);
    return code;
  }
}

/** The first of `count` free ports in a row. They are outside of the range of clients' ports, so that no client takes them while the server is away. */
export async function freePorts(count) {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const free = await Promise.all(Array.from({ length: count }, (_, index) => isFree(first + index)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${count} free ports in a row`);
}

const isFree = (port) => new Promise((resolve) => {
  const listener = net.createServer().listen(port, '127.0.0.1');
  listener.on('error', () => resolve(false));
  listener.on('listening', () => listener.close(() => resolve(true)));
});
