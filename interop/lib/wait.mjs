// Waiting with a bound: nothing in these suites waits for ever.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Settles like `promise`, or fails after `ms` naming what was waited for. */
export function within(promise, what, ms = 5000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${describe(what)}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks `probe` every few milliseconds until it answers with something true, and returns that. */
export async function until(probe, what, ms = 5000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() >= deadline) throw new Error(`${describe(what)}: not within ${ms} ms`);
    await sleep(10);
  }
}

const describe = (what) => (typeof what === 'function' ? what() : what);
