// Clients of every generation on the nodes of a cluster, each with a memory of what it has heard.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { openOldPage, OLD_RELEASES, start } from './page-peer.mjs';
import { until, within } from './wait.mjs';

const require = createRequire(import.meta.url);

/** The releases that run in node. */
const MODERN = ['4.8.4', '2.5.0', '1.7.4'];

const EVENTS = ['cast', 'castall', 'room', 'roomall', 'except', 'castlocal', 'sse-heard', 'news', 'message'];

/** All bytes as `{bytes: base64}`, whatever a generation makes of them. */
export function legible(value, attachments = []) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return { bytes: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map((item) => legible(item, attachments));
  if (typeof value !== 'object' || value === null) return value;
  if (value._placeholder === true) return { bytes: attachments[value.num] };
  // What nodes of the classic adapter, which tell each other JSON, make of bytes.
  if (value.type === 'Buffer' && Array.isArray(value.data)) return { bytes: Buffer.from(value.data).toString('base64') };
  const entries = Object.entries(value);
  if (entries.length === 1 && entries[0][0] === 'base64') return { bytes: value.base64 };
  return Object.fromEntries(entries.map(([name, item]) => [name, legible(item, attachments)]));
}

/** What all clients can do. A subclass has `name` and `heard()`, the list of `[event, ...args]`. */
class Person {
  async hears(event, ...args) {
    const wanted = JSON.stringify([event, ...args].map((arg) => legible(arg)));
    let heard;
    const comes = async () => {
      heard = await this.heard();
      return heard.some((one) => JSON.stringify(one) === wanted);
    };
    await until(comes, () => `${this.name} hears ${wanted}; heard last ${JSON.stringify(heard.slice(-5))}`, 10_000);
  }

  /** How often this has been heard so far. */
  async count(event, ...args) {
    const wanted = JSON.stringify([event, ...args].map((arg) => legible(arg)));
    return (await this.heard()).filter((one) => JSON.stringify(one) === wanted).length;
  }

  async join(...rooms) {
    for (const room of rooms) assert.deepEqual(await this.ask('join', room), ['ok'], `${this.name} joins ${room}`);
  }
}

/** A client of 1.x to 4.x, in this process. It answers questions, unless it is mute. */
export class ModernPerson extends Person {
  generation = 'modern';
  ended = false;
  #heard = [];

  static async connected(release, url, name, namespace = '/') {
    const person = new ModernPerson(release, url, name, namespace);
    await until(() => person.socket.connected, `${person.name} connects`, 20_000);
    return person;
  }

  constructor(release, url, name, namespace) {
    super();
    this.name = `${name} (${release})`;
    const options = { transports: ['websocket'], forceNew: true, 'force new connection': true, reconnection: false };
    this.socket = require(`sioc-${release}`)(url + namespace, options);
    for (const event of EVENTS) this.socket.on(event, (...args) => this.#heard.push([event, ...args.map((arg) => legible(arg))]));
    this.socket.on('question', (x, answer) => { if (!this.mute) answer({ who: this.name, x }); });
    this.socket.on('disconnect', () => { this.ended = true; });
  }

  async heard() {
    return this.#heard;
  }

  emit(...args) {
    this.socket.emit(...args);
  }

  /** The arguments of the answer to an event. */
  ask(...args) {
    return within(new Promise((resolve) => { this.socket.emit(...args, (...answer) => resolve(answer)); }), `${this.name}: ${args[0]}`, 15_000);
  }

  answerTo(x) {
    return { who: this.name, x };
  }

  async isGone() {
    return this.ended;
  }

  close() {
    this.socket.disconnect();
  }
}

/** A client of 0.6 or 0.9, in a page of its node. It answers questions with what it was asked, if it can. */
export class OldPerson extends Person {
  static async connected(scope, browser, version, transport, url, name) {
    const release = OLD_RELEASES.find((one) => one.version === version);
    const page = await openOldPage(scope, browser, release, { origin: url });
    const peer = await start(scope, page, release, transport, { url });
    await peer.take('connect', 30_000);
    return new OldPerson(peer, release, `${name} (${version} over ${transport})`);
  }

  constructor(peer, release, name) {
    super();
    this.peer = peer;
    this.generation = release.family;
    this.name = name;
  }

  /** 0.6 has no events: an event is a message with its name. */
  async heard() {
    const log = await this.peer.log();
    if (this.generation === '0.9') return log.map((one) => legible(one));
    const said = log.filter(([kind]) => kind === 'message').map(([, message]) => message);
    return said.map((one) => (one?.event ? [one.event, ...legible(one.args, one.attachments)] : ['message', one]));
  }

  async emit(...args) {
    await this.peer.emit(...args);
  }

  ask(...args) {
    return this.peer.ask(...args);
  }

  answerTo(x) {
    return x;
  }

  async isGone() {
    return (await this.peer.log()).some(([event]) => event === 'disconnect');
  }

  async close() {
    await this.peer.close();
  }
}

/** The name of the room of all clients of 0.6, which cannot join rooms by themselves. */
export const ROOM_OF_06 = '\0generation 0.6';

/**
 * Clients of all generations on these nodes, as `{bases, old}`: on each node clients of 4.8, 2.5 and 1.7, and on the
 * first `old` nodes, which are ours, also clients of 0.9 and 0.6.
 */
export async function everybodyOn(scope, browser, bases, old) {
  // The transports are used in turn.
  const pages = bases.slice(0, old).flatMap((base, at) => [
    OldPerson.connected(scope, browser, '0.9.17', ['websocket', 'xhr-polling'][at % 2], base, `node ${at}`),
    OldPerson.connected(scope, browser, '0.6.18', ['xhr-polling', 'websocket'][at % 2], base, `node ${at}`),
  ]);
  const inPages = await Promise.all(pages);
  const modern = bases.flatMap((base, at) => MODERN.map((release) => ModernPerson.connected(release, base, `node ${at}`)));
  return [...(await Promise.all(modern)), ...inPages];
}
