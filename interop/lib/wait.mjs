// Functions that wait with a time limit: nothing in these suites waits for ever.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Settles like `promise`, or fails after `ms` with an error that names what the test waited for. */
export function within(promise, what, ms = 5000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${describe(what)}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Calls `probe` every few milliseconds until it returns something true, and returns this value. */
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
