// Random numbers that can be had again: the same seed gives the same numbers.

/** The seed of this run. A failing test prints it, and `SIO_SEED` sets it. */
export const seed = Number(process.env.SIO_SEED ?? Math.floor(Math.random() * 2 ** 32));

/** A source of random numbers. `name` keeps the sources of one run apart. */
export class Random {
  #state;

  constructor(name) {
    let hash = (seed ^ 0x811c9dc5) >>> 0;
    for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193) >>> 0;
    this.#state = hash;
  }

  /** A number from 0 to 1, without 1 (the generator is mulberry32). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `limit`, without `limit`. */
  below(limit) {
    return Math.floor(this.next() * limit);
  }

  /** A time of this mean, as between events that do not know of each other. It is at most five times as long as the mean. */
  around(mean) {
    return Math.min(-Math.log(1 - this.next()), 5) * mean;
  }

  /** One of the names, each as often as its weight says. */
  weighed(weights) {
    const names = Object.entries(weights);
    let place = this.next() * names.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of names) {
      place -= weight;
      if (place < 0) return name;
    }
    return names.at(-1)[0];
  }
}
