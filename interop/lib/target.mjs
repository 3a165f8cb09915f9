// The addresses of the server under test, and the times that its contract promises.

import { until } from './wait.mjs';

const fromEnvironment = Number(process.env.SIO_PORT);
if (!Number.isInteger(fromEnvironment) || fromEnvironment <= 0) {
  throw new Error('SIO_PORT must name the port of a running conformance server; `cargo xtask interop` sets it');
}

export const port = fromEnvironment;
export const base = `http://127.0.0.1:${port}`;
/** The same handlers, with the MessagePack parser. */
export const msgpackBase = `http://127.0.0.1:${port + 1}`;
/** The same handlers, with connection-state recovery. */
export const recoveryBase = `http://127.0.0.1:${port + 2}`;

/** The settings every port of the conformance server runs with, in milliseconds and bytes. */
export const settings = Object.freeze({
  pingInterval: 1000,
  pingTimeout: 1500,
  connectTimeout: 3000,
  maxPayload: 1_000_000,
});

/** The server's own counts. */
export async function stats() {
  const response = await fetch(`${base}/__stats`, { signal: AbortSignal.timeout(5000) });
  if (response.status !== 200) throw new Error(`/__stats answered ${response.status}`);
  return response.json();
}

/** The counts of a server without clients. It waits, because earlier tests may still be closing their connections. */
export async function startLevel(ms = 75_000) {
  let last = await stats();
  await until(async () => (last = await stats()).sessions === 0, () => `${last.sessions} sessions to end`, ms);
  return last;
}
