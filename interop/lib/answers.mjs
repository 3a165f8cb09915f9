// The answers that a browser has read for certain: those on connections on which it has sent another request.
//
// A page may give such an answer up. Then the browser drops it without a word, and on the wire it looks as if it had arrived.

const GET = Buffer.from('GET ');

export class Answers {
  #pattern;
  #coming = new WeakMap();

  /** The numbers in the answers that were read. */
  read = new Set();

  /** `pattern` finds the numbers of an answer: its first group, in all places. */
  constructor(pattern) {
    this.#pattern = pattern;
  }

  /** Bytes on a connection of a `Cutter`. */
  take(pair, direction, bytes) {
    if (direction === 'down') {
      this.#coming.set(pair, (this.#coming.get(pair) ?? '') + bytes.toString('latin1'));
    } else if (bytes.subarray(0, GET.length).equals(GET)) {
      const answer = this.#coming.get(pair) ?? '';
      for (const [, number] of answer.matchAll(this.#pattern)) this.read.add(Number(number));
      this.#coming.delete(pair);
    }
  }
}
