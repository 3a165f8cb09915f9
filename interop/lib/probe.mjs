// Our client, as the program that SIO_PROBE names: commands and observations are lines of JSON.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until, within } from './wait.mjs';

/** A port of this machine that nobody listens on. */
export async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  await new Promise((closed) => listener.close(closed));
  return port;
}

/** Starts a genuine server, and ends it with the test. Resolves to a function that kills it. */
export async function startServer(t, name, port, mode) {
  const script = fileURLToPath(new URL('genuine-server.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, name, String(port), ...(mode ? [mode] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const kill = () => child.kill('SIGKILL');
  t.after(kill);
  await within(once(child.stdout, 'data'), `${name} listens`, 20_000);
  return kill;
}

/** Starts the probe, and ends it with the test. */
export function startProbe(t, words) {
  const child = spawn(process.env.SIO_PROBE, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  t.after(() => child.kill('SIGKILL'));
  const log = [];
  createInterface({ input: child.stdout }).on('line', (line) => log.push(JSON.parse(line)));
  return {
    log,
    say: (command) => child.stdin.write(`${JSON.stringify(command)}\n`),
    /** Waits for an observation. */
    see: (fits, what) => until(() => log.find(fits), () => `${what}: ${JSON.stringify(log.slice(-20))}`, 15_000),
    events: (name) => log.filter((seen) => seen.event?.[0] === name).map((seen) => seen.event.slice(1)),
    count: (key) => log.filter((seen) => key in seen).length,
    /** Ends the standard input, and resolves to the exit code. */
    async end() {
      child.stdin.end();
      const [code] = await within(exited, 'the probe ends');
      return code;
    },
  };
}
