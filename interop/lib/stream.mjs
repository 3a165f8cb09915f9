// A stream of numbers, as a client receives it: 1, 2, 3 and so on.

/** Notes the numbers that come, and what is wrong with them. */
export class Stream {
  /** The last number that came. */
  last = 0;
  /** The numbers that came again, or too late. */
  repeated = [];
  /** The numbers that never came, as `[first, last]`. */
  gaps = [];

  take(number) {
    if (number <= this.last) {
      this.repeated.push(number);
      return;
    }
    if (number > this.last + 1) this.gaps.push([this.last + 1, number - 1]);
    this.last = number;
  }

  /** How many numbers up to `count` never came. */
  missing(count = this.last) {
    const between = this.gaps.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    return between + Math.max(0, count - this.last);
  }

  /** Whether this number was left out, while later ones came. */
  skips(number) {
    return this.gaps.some(([first, last]) => first <= number && number <= last);
  }

  /** Why the stream is not the numbers from 1 to `count`, each once and in order. Nothing, if it is. */
  fault(count) {
    if (this.repeated.length > 0) return `${this.repeated.length} numbers came twice or too late, the first is ${this.repeated[0]}`;
    const missing = this.missing(count);
    if (missing > 0) return `${missing} of ${count} numbers are missing: ${JSON.stringify(this.gaps.slice(0, 5))}, the last is ${this.last}`;
    return this.last === count ? undefined : `${this.last} instead of ${count} numbers`;
  }
}
