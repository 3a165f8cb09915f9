// Redis for one suite: a server, or a cluster of three, on free ports of this machine, with everything in memory.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from './own-server.mjs';
import { until, within } from './wait.mjs';

const run = promisify(execFile);

export class Redis {
  #child;
  #directory;
  #words;

  constructor(port, directory, words) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#directory = directory;
    this.#words = words;
  }

  /** Starts a server. `ending` is called with a function that ends it. */
  static async start(ending, words = [], port = undefined) {
    const directory = await mkdtemp(path.join(tmpdir(), 'sio-redis-'));
    const redis = new Redis(port ?? await freePorts(1), directory, words);
    ending(() => redis.#end());
    await redis.begin();
    return redis;
  }

  /** Starts three servers that are a cluster, and returns the first URL for all of them. */
  static async startCluster(ending) {
    // The port of the cluster's bus is above the others by 10000.
    const first = await freePorts(3);
    const nodes = [];
    for (const port of [first, first + 1, first + 2]) {
      nodes.push(await Redis.start(ending, ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'], port));
    }
    const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`);
    await run('redis-cli', ['--cluster', 'create', ...hosts, '--cluster-yes']);
    const isWhole = async () => {
      const states = await Promise.all(nodes.map((node) => node.cli('cluster', 'info')));
      return states.every((state) => state.includes('cluster_state:ok'));
    };
    await until(isWhole, 'the Redis cluster is whole', 20_000);
    return { nodes, url: `redis://${hosts.join(',')}`, ports: nodes.map(({ port }) => port) };
  }

  /** Starts the server on its port, as before. */
  async begin() {
    const words = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.#directory];
    this.#child = spawn('redis-server', [...words, ...this.#words], { stdio: 'ignore' });
    this.#child.on('error', (error) => { throw new Error(`redis-server: ${error.message}; cargo xtask interop installs it`); });
    await until(() => this.cli('ping').then((answer) => answer.includes('PONG'), () => false), 'redis-server answers', 20_000);
  }

  /** What redis-cli prints for this command. */
  async cli(...words) {
    const { stdout } = await run('redis-cli', ['-p', String(this.port), ...words]);
    return stdout;
  }

  /** Sends a signal to the server. */
  signal(name) {
    this.#child.kill(name);
  }

  /** Ends the server as a crash does. */
  async kill() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const end = once(child, 'exit');
    child.kill('SIGKILL');
    await within(end, 'redis-server ends', 20_000);
  }

  async #end() {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
