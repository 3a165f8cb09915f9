// One process of a crowd: many genuine clients behind a network of their own that cuts them.
//
// The parent forks it with its settings as JSON, and talks to it with messages `{ask, ...}`, each of which is answered
// with `{answer}`.

import { Cutter } from './cutter.mjs';
import { newest, TRANSPORTS } from './clients.mjs';
import { sized } from './scale.mjs';
import { Stream } from './stream.mjs';
import { until } from './wait.mjs';

const settings = JSON.parse(process.argv[2]);

/**
 * How a client of the crowd comes back, in milliseconds. The patience of an attempt is half of a genuine client's default.
 * If it were short, a machine that is too slow for so many attempts at once would end none of them.
 */
const OPTIONS = { forceNew: true, reconnection: true, reconnectionDelay: 200, reconnectionDelayMax: 2000, randomizationFactor: 0.5, timeout: sized(2500, 10_000) };
/** How many clients connect at the same time. */
const AT_ONCE = 25;

/** One client, and what it has seen. */
class Member {
  /** The streams that it has heard, the present one last. A stream ends with `num-end`. */
  streams = [new Stream()];
  ended = 0;
  recovered = 0;
  anew = 0;
  losses = 0;
  /** For each comeback that was not recovered, how long the client had been away, in milliseconds. */
  absences = [];

  constructor(url, transports) {
    this.transports = transports.join();
    this.socket = newest.io(url, { ...OPTIONS, transports });
    this.socket.on('num', (number) => {
      // A new run begins with 1, also if the run before it was ended by a deploy.
      if (number === 1 && this.streams.at(-1).last > 0) this.streams.push(new Stream());
      this.streams.at(-1).take(number);
    });
    this.socket.on('num-end', (count) => { this.ended = count; });
    this.socket.on('disconnect', () => {
      this.losses += 1;
      this.lostAt = Date.now();
    });
    this.socket.on('connect', () => {
      this.connectedAt = Date.now();
      if (this.socket.recovered) this.recovered += 1;
      else {
        this.anew += 1;
        if (this.lostAt) this.absences.push(Date.now() - this.lostAt);
      }
    });
  }
}

const members = [];
const cutter = settings.cutter && await Cutter.start({ after: () => {} }, settings.cutter);

const ACTS = {
  async begin() {
    for (let at = 0; at < settings.count; at += AT_ONCE) {
      const some = Array.from({ length: Math.min(AT_ONCE, settings.count - at) }, (_, index) => {
        const transports = (at + index) % 10 === 0 ? TRANSPORTS.upgrade : TRANSPORTS.websocket;
        return new Member(cutter?.base ?? settings.base, transports);
      });
      members.push(...some);
      await until(() => some.every(({ socket }) => socket.connected), 'some clients to connect', 60_000);
    }
    // The first connection of a client is no comeback.
    for (const member of members) member.anew = 0;
    return members.length;
  },
  cut: () => cutter.begin(),
  rest: () => cutter.rest(),
  /** Forgets what was counted, and begins with new streams. */
  forget() {
    for (const member of members) Object.assign(member, { streams: [new Stream()], ended: 0, recovered: 0, anew: 0, losses: 0, absences: [] });
  },
  /** Waits until all clients have heard the end of a run of this length. */
  ended: async ({ count, ms }) => until(() => members.every((member) => member.ended === count), 'the end', ms).then(() => true, () => false),
  /** Waits until all clients are connected that have lost their connection at least once, and says when the last came. */
  async back({ ms }) {
    const isBack = (member) => member.losses > 0 && member.socket.connected;
    await until(() => members.every(isBack), 'everybody to be back', ms).catch(() => {});
    return { back: members.filter(isBack).length, last: Math.max(...members.map((member) => member.connectedAt)) };
  },
  report: () => ({
    cuts: cutter?.counts ?? {},
    members: members.map(({ transports, streams, recovered, anew, losses, absences }) => ({
      transports, recovered, anew, losses, absences: absences.join(),
      streams: streams.map((stream) => ({ last: stream.last, missing: stream.missing(), repeated: stream.repeated.length, gaps: stream.gaps.slice(0, 3) })),
    })),
  }),
  end: () => setImmediate(() => process.exit(0)),
};

process.on('message', async ({ id, ask, ...words }) => {
  try {
    process.send({ id, answer: await ACTS[ask](words) });
  } catch (error) {
    process.send({ id, error: error.message });
  }
});
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
