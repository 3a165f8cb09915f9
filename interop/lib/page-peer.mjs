// The genuine clients of 0.6 to 0.9, which run only in browsers: pages that run them, and one connected client with a memory.

import { readFileSync } from 'node:fs';
import { after, before, describe } from 'node:test';
import { base, port } from './target.mjs';

/** `family` says how a client is used: 0.6 has only messages. */
export const OLD_RELEASES = ['0.6.18', '0.7.11', '0.8.7', '0.9.17'].map((version) => ({
  version,
  family: version.startsWith('0.6.') ? '0.6' : '0.9',
}));

export const OLD_TRANSPORTS = ['websocket', 'xhr-polling', 'jsonp-polling'];

/** The origin of the page: the server's own origin, or another. */
export const ORIGINS = { 'same origin': base, 'cross origin': `http://localhost:${port}` };

const inPage = readFileSync(new URL('in-page.js', import.meta.url), 'utf8');
const bundle = (version) => readFileSync(new URL(`../../clients/${version}/socket.io.js`, import.meta.url), 'utf8');

/**
 * The error that clients of 0.7 to 0.9 throw when a try to reconnect takes longer than the pause between two tries.
 * Each try opens a transport when its handshake has been answered. The second try then calls the method `open` of the
 * transport, but the first try has replaced it by a flag. The client goes on with the first transport.
 */
const OPENED_TWICE = 'self.transport.open is not a function';

/** A page of this origin with the client of this release in it. An exception on the page fails the test of `scope`. */
export async function openOldPage(scope, browser, release, { origin = base, stage } = {}) {
  const context = await browser().newContext();
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const thrown = [];
  page.on('pageerror', ({ message }) => {
    if (message !== OPENED_TWICE) thrown.push(message);
  });
  scope.after(async () => {
    await context.close();
    if (thrown.length > 0) throw new Error(`the page of ${release.version} threw: ${thrown.join('; ')}`);
  });
  // Any document of the server itself is suitable. Chromium treats a document that the test makes itself as foreign to
  // the local network, and does not let it open a websocket.
  await page.goto(`${origin}/__stats`);
  if (stage) await page.evaluate(stage);
  await page.addScriptTag({ content: bundle(release.version) });
  await page.addScriptTag({ content: inPage });
  return page;
}

/** A page that the tests of this `describe` block share. Each test has its own sockets. */
export function sharedOldPage(browser, release, options) {
  let page;
  const endings = [];
  before(async () => {
    page = await openOldPage({ after: (end) => endings.push(end) }, browser, release, options);
  });
  after(async () => {
    for (const end of endings) await end();
  });
  return () => page;
}

/**
 * Makes one `describe` block for every release, transport and origin, each with its own page. The tests of a block run
 * one after the other: a browser opens at most six connections to a server, and each polling client uses up to two.
 */
export function eachOldClient(browser, releases, body) {
  let number = 0;
  for (const release of releases) {
    for (const transport of OLD_TRANSPORTS) {
      for (const [where, origin] of Object.entries(ORIGINS)) {
        const own = (number += 1);
        describe(`${release.version} over ${transport}, ${where}`, { concurrency: 1 }, () => {
          // When a client of 0.6 has gone, its poll by script stays under way until the server answers it.
          const leavesPolls = release.family === '0.6' && transport === 'jsonp-polling';
          const shared = leavesPolls ? null : sharedOldPage(browser, release, { origin });
          const page = async (t) => shared?.() ?? openOldPage(t, browser, release, { origin });
          const begin = async (t, more) => start(t, await page(t), release, transport, more);
          const connect = async (t, more) => connectOld(t, await page(t), release, transport, more);
          body({ release, transport, number: own, start: begin, connect });
        });
      }
    }
  }
}

/** Starts a client and does not wait. `t` closes it at the end of the test. */
export async function start(t, page, release, transport, { url = base, ns = '', query = '', patience, resumes, ...options } = {}) {
  const name = `${release.version} over ${transport}`;
  const at = await page.evaluate(([family, all]) => window.interop.start(family, all), [
    release.family,
    { url, namespace: ns, query, transport, name, patience, resumes, options },
  ]);
  const peer = new PagePeer(page, at, release);
  t.after(() => peer.close());
  return peer;
}

/** Starts a client and waits until it says that it is connected, over the transport that was asked for. */
export async function connectOld(t, page, release, transport, options) {
  const peer = await start(t, page, release, transport, options);
  await peer.take('connect', 30_000);
  const used = await peer.transport();
  if (used !== transport) throw new Error(`${release.version} was to use ${transport} and uses ${used}`);
  return peer;
}

export class PagePeer {
  constructor(page, at, release) {
    this.page = page;
    this.at = at;
    this.release = release;
  }

  /** The arguments of the next event called `name` that nobody took yet. */
  take(name, ms = 20_000) {
    return this.page.evaluate(([at, event, limit]) => window.interop.take(at, event, limit), [this.at, name, ms]);
  }

  /** The next `count` events called `name`, each as its arguments. */
  async takeAll(name, count, ms = 30_000) {
    const limit = [this.at, name, count, ms];
    return this.page.evaluate(async ([at, event, wanted, left]) => {
      const all = [];
      while (all.length < wanted) all.push(await window.interop.take(at, event, left));
      return all;
    }, limit);
  }

  /** How many events called `name` have arrived and were not taken. */
  count(name) {
    return this.page.evaluate(([at, event]) => window.interop.count(at, event), [this.at, name]);
  }

  /** Every event in the order of arrival, as `[name, ...args]`. */
  log() {
    return this.page.evaluate((at) => window.interop.log(at), this.at);
  }

  emit(...args) {
    return this.#call('emit', ...args);
  }

  /** Emits and returns the arguments of the answer. */
  ask(...args) {
    return this.#call('ask', 20_000, ...args);
  }

  /** Sends a message: text as text, anything else as JSON. */
  send(value) {
    return this.#call('send', value);
  }

  /** Sends text and returns the arguments of its acknowledgement. */
  sendAsked(text) {
    return this.#call('sendAsked', 20_000, text);
  }

  sessionId() {
    return this.#call('sessionId');
  }

  transport() {
    return this.#call('transport');
  }

  /** Another namespace on the same connection. */
  async also(namespace) {
    return new PagePeer(this.page, await this.#call('also', namespace), this.release);
  }

  /** Leaves this namespace. */
  leave() {
    return this.#call('leave');
  }

  /** Cuts the transport, as a network failure would. */
  drop() {
    return this.#call('drop');
  }

  /** Sends the disconnect request that a page sends when it is closed. */
  beacon() {
    return this.#call('beacon');
  }

  /** Ends the client for good. A page that was closed has no client any more. */
  async close() {
    if (!this.page.isClosed()) await this.#call('close');
  }

  #call(method, ...args) {
    return this.page.evaluate(([at, name, all]) => {
      const answer = window.interop.call(at, name, all);
      return typeof answer === 'object' && typeof answer?.then !== 'function' ? undefined : answer;
    }, [this.at, method, args]);
  }
}
