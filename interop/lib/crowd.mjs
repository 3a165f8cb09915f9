// A crowd of genuine clients in several processes, which are told together what to do.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { sized } from './scale.mjs';
import { within } from './wait.mjs';

export const CLIENTS = Number(process.env.SIO_CROWD) || sized(100, 2000);
export const PROCESSES = sized(2, 4);
/** The pause between two numbers of a broadcast. Times in milliseconds. */
export const PAUSE = sized(100, 1000);
/** The mean time between two cuts of one client. */
export const EVERY = sized(3000, 15_000);
export const LIMIT = sized(180_000, 600_000);
/** How the connections are cut. `near` leaves a connection half dead on the server. */
export const CUTS = Object.freeze({ reset: 40, end: 40, near: 20 });
/**
 * How long the server of a crowd waits for its clients, as options of the server. A poll that is cut with FIN is never
 * answered for the client, which notices it by the heartbeat. The window is the default of the server's library, not the
 * short one of the conformance server: two thousand clients on one machine may need more than ten seconds to come back.
 */
export const SERVER = Object.freeze(['--window', '120000', '--ping-interval', sized('2000', '4000'), '--ping-timeout', sized('2000', '8000')]);

/** What a server counts of clients that came back: how many were recovered, and how many were not, by the reason. */
export async function recoveryOf(server) {
  const answer = await fetch(`${server.base}/__stats`, { signal: AbortSignal.timeout(10_000) });
  const { recovered, not_recovered: lost } = (await answer.json()).recovery;
  return { recovered, lost: Object.fromEntries(Object.entries(lost).filter(([, count]) => count > 0)) };
}

const program = new URL('crowd-worker.mjs', import.meta.url);

export class Crowd {
  #workers = [];
  #asked = 0;

  /**
   * Starts `processes` processes with `count` clients together. Their connections to the port `to` are cut about every
   * `every` milliseconds after `cut` is told. Without `every` they are connected directly, and nobody cuts them.
   */
  static async start(t, { to, count, processes, every, kinds }) {
    const crowd = new Crowd();
    t.after(() => crowd.#workers.forEach((worker) => worker.kill('SIGKILL')));
    const share = Math.ceil(count / processes);
    for (let at = 0; at < count; at += share) {
      const own = Math.min(share, count - at);
      // The pause before a cut, and the time that the cut waits for its bytes, are together the time between two cuts.
      const cutter = every && { to, name: `crowd ${at}`, pace: every / own / 2, patience: every / own / 2, kinds };
      const settings = { count: own, base: `http://127.0.0.1:${to}`, cutter };
      crowd.#workers.push(fork(program, [JSON.stringify(settings)], { execArgv: ['--no-deprecation'] }));
    }
    await within(Promise.all(crowd.#workers.map((worker) => once(worker, 'message'))), 'the processes of the crowd', 60_000);
    return crowd;
  }

  /** Tells all processes the same, and returns their answers. */
  tell(ask, words = {}, ms = 120_000) {
    const id = (this.#asked += 1);
    return Promise.all(this.#workers.map((worker) => {
      const answered = new Promise((resolve, reject) => {
        const hear = (message) => {
          if (message.id !== id) return;
          worker.off('message', hear);
          if (message.error) reject(new Error(message.error));
          else resolve(message.answer);
        };
        worker.on('message', hear);
      });
      worker.send({ ...words, id, ask });
      return within(answered, `the crowd's answer to ${ask}`, ms);
    }));
  }

  /** What all clients have seen. */
  async report() {
    const reports = await this.tell('report');
    const cuts = {};
    for (const report of reports) {
      for (const [kind, count] of Object.entries(report.cuts)) cuts[kind] = (cuts[kind] ?? 0) + count;
    }
    return { cuts, members: reports.flatMap(({ members }) => members) };
  }
}
