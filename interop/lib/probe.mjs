// Our client, as the program that SIO_PROBE names: commands and observations are lines of JSON.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { until, within } from './wait.mjs';

/** Starts the probe, and ends it with the test. */
export function startProbe(t, words) {
  if (!process.env.SIO_PROBE) throw new Error('SIO_PROBE must name our client; `cargo xtask interop` sets it');
  const child = spawn(process.env.SIO_PROBE, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  t.after(() => child.kill('SIGKILL'));
  const log = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const seen = JSON.parse(line);
    log.push(seen);
    watchers.forEach((watch) => watch(seen));
  });
  const watchers = [];
  let emits = 0;
  const say = (command) => child.stdin.write(`${JSON.stringify(command)}\n`);
  return {
    log,
    say,
    /** Emits, and returns the number of the emit. */
    emit(event, more) {
      say({ emit: event, ...more });
      emits += 1;
      return emits - 1;
    },
    /** Calls a function for each observation. */
    watch: (watch) => watchers.push(watch),
    /** Waits for an observation. */
    see: (fits, what, ms = 20_000) => until(() => log.find(fits), () => `${what}: ${JSON.stringify(log.slice(-20)).slice(0, 2000)}`, ms),
    /** The arguments of the events of this name. */
    events: (name, ns) => log.filter((seen) => seen.event?.[0] === name && seen.ns === ns).map((seen) => seen.event.slice(1)),
    /** How often something was observed in the first namespace, or in this one. */
    count: (key, ns) => log.filter((seen) => key in seen && seen.ns === ns).length,
    /** The ends of this emit: acknowledgements and timeouts. */
    ends: (number) => log.filter((seen) => seen.of === number),
    /** Ends the standard input, and resolves to the exit code. */
    async end() {
      child.stdin.end();
      const [code] = await within(exited, 'the probe ends');
      return code;
    },
  };
}
