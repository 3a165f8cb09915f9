// The number of sessions and descriptors that the server has open, before clients come and after they have gone.

import { readdirSync } from 'node:fs';
import { startLevel, stats } from './target.mjs';
import { until } from './wait.mjs';

/** The longest time that the server waits for a polling client that left without a disconnect: the close timeout of 0.9. */
export const PATIENCE = 75_000;

const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

/** How many descriptors the server has open when no client is connected. */
export async function level() {
  const { pid } = await startLevel(PATIENCE);
  return { pid, descriptors: descriptors(pid) };
}

/** Waits until the server has as much open as before. One connection that is kept alive for the next question may come or go meanwhile. */
export async function isBack(start, how, ms) {
  let now;
  await until(async () => {
    const { sessions } = await stats();
    now = { sessions, descriptors: descriptors(start.pid) };
    return sessions === 0 && now.descriptors <= start.descriptors + 1;
  }, () => `from ${JSON.stringify(now)} back to ${start.descriptors} descriptors after ${how}`, ms);
}
