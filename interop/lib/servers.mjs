// Servers for suites of our client: genuine ones, and the one under test. Each has the same handlers, and can be killed
// and started again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { freePorts, OwnServer } from './own-server.mjs';
import { until, within } from './wait.mjs';

const script = (name) => fileURLToPath(new URL(name, import.meta.url));
const node = (name, file = 'genuine-server.mjs') => [process.execPath, script(file), name];

/**
 * Genuine servers from the registries. `words` starts one, `generation` is that of our client, `mode` a wire or a setting
 * of the server that is not its default. `has` tells what the server knows besides events and namespaces:
 *
 * - `auth`: refusals have a message; `refresh`: a namespace can be asked for with another token;
 * - `binary`: bytes; `upgrade`: polling moves to websocket; `messages`: what came before events.
 *
 * With `only`, just the cases that need this are run.
 */
export const GENUINE = [
  { name: 'socket.io 4.8.1', words: node('sio-4.8.1'), generation: '4', has: ['auth', 'refresh', 'binary', 'upgrade'] },
  { name: 'socket.io 4.8.1 with msgpack', words: node('sio-4.8.1'), generation: '4', mode: 'msgpack', has: ['auth', 'refresh', 'binary', 'upgrade'] },
  { name: 'socket.io 4.8.1 with recovery', words: node('sio-4.8.1'), generation: '4', mode: 'recovery', has: ['upgrade'], only: 'recovery' },
  { name: 'socket.io 3.1.2', words: node('sio-3.1.2'), generation: '3', has: ['auth', 'refresh', 'binary', 'upgrade'] },
  { name: 'socket.io 2.5.1', words: node('sio-2.5.1'), generation: '2', has: ['refresh', 'binary', 'upgrade'] },
  { name: 'socket.io 1.7.4', words: node('sio-1.7.4'), generation: '1', has: ['refresh', 'binary', 'upgrade'] },
  { name: 'socket.io 0.9.19', words: node('sio-0.9.19', 'genuine-server-0.9.cjs'), generation: '0.9', has: ['messages'] },
];

/** The interpreter that has python-socketio. */
const python = process.env.SIO_PYTHON;
const pythonWords = [python, script('genuine-server.py')];
export const PYTHON = [
  { name: 'python-socketio 5', words: pythonWords, generation: '4', has: ['auth', 'refresh', 'binary', 'upgrade'] },
  { name: 'python-socketio 5 with msgpack', words: pythonWords, generation: '4', mode: 'msgpack', has: ['auth', 'refresh', 'binary', 'upgrade'] },
];

/** The conformance server, which `cargo xtask interop` has built: its port for each mode, and the clients that it serves. */
export const OWN = [
  { name: 'our server', isOwn: true, generation: '4', has: ['auth', 'refresh', 'binary', 'upgrade'] },
  { name: 'our server with msgpack', isOwn: true, generation: '4', mode: 'msgpack', has: ['auth', 'refresh', 'binary', 'upgrade'] },
  { name: 'our server with recovery', isOwn: true, generation: '4', mode: 'recovery', has: ['upgrade'], only: 'recovery' },
  { name: 'our server for clients of 2.x', isOwn: true, generation: '2', has: ['refresh', 'binary', 'upgrade'] },
  { name: 'our server for clients of 0.9', isOwn: true, generation: '0.9', has: ['messages'] },
  { name: 'our server for clients of 0.6', isOwn: true, generation: '0.6', has: [], only: 'messages' },
];
const OWN_PORTS = { msgpack: 1, recovery: 2 };

/** Starts a server. `ending` is called with a function that ends it. */
export async function startServer(row, ending) {
  if (row.isOwn) {
    const server = await OwnServer.start({ after: ending });
    const port = server.port + (OWN_PORTS[row.mode] ?? 0);
    return { port, kill: () => server.end('SIGKILL'), begin: () => server.begin() };
  }
  const port = await freePorts(1);
  const server = new GenuineServer(row, port);
  ending(() => server.kill());
  await server.begin();
  return server;
}

class GenuineServer {
  #row;
  #child;

  constructor(row, port) {
    this.#row = row;
    this.port = port;
  }

  /** Starts the server, on the same port as before. */
  async begin() {
    const { words: [program, ...words], mode, name } = this.#row;
    if (!program) throw new Error(`${name}: no interpreter; \`cargo xtask interop\` installs python-socketio and sets SIO_PYTHON`);
    const child = spawn(program, [...words, String(this.port), ...(mode ? [mode] : [])], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    let printed = '';
    child.stdout.on('data', (text) => { printed += text; });
    await until(() => printed.includes(`listening ${this.port}`), () => `${name} listens; it printed ${JSON.stringify(printed)}`, 30_000);
  }

  async kill() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const end = once(child, 'exit');
    child.kill('SIGKILL');
    await within(end, `${this.#row.name} ends`, 20_000);
  }
}
