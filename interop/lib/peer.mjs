// One connected genuine client with a memory: everything that arrived can be taken, in order, with a time limit.

import { base } from './target.mjs';
import { sleep, until, within } from './wait.mjs';

const DEFAULTS = { forceNew: true, reconnection: false, timeout: 4000, reconnectionDelay: 50, randomizationFactor: 0 };

export class Peer {
  #queues = new Map();
  #waiters = new Map();

  /** Every event in the order of arrival, as `[name, ...args]`. */
  log = [];

  constructor(client, socket) {
    this.client = client;
    this.socket = socket;
    this.#listen();
  }

  /** The id of the socket on the server. Clients before 2.0 know only the id of the connection, from which the socket's id is derived. */
  get id() {
    const { socket, client, engine } = this;
    if (client.revision === 5) return socket.id;
    return socket.nsp === '/' ? engine.id : `${socket.nsp}#${engine.id}`;
  }

  get engine() {
    return this.socket.io.engine;
  }

  get transport() {
    return this.engine.transport.name;
  }

  emit(...args) {
    this.socket.emit(...args);
  }

  /** Emits and returns the arguments of the answer. */
  ask(name, ...args) {
    const answer = new Promise((resolve) => this.socket.emit(name, ...args, (...got) => resolve(got)));
    return within(answer, `${this.client.version}: the ack of ${name}`);
  }

  /** The arguments of the next event called `name` that nobody took yet. */
  take(name, ms = 5000) {
    const queue = this.#queue(name);
    if (queue.length > 0) return Promise.resolve(queue.shift());
    const waiting = new Promise((resolve) => this.#waiting(name).push(resolve));
    return within(waiting, () => `${this.client.version}: event ${name} (the log ends ${this.#tail()})`, ms);
  }

  /** How many events called `name` have arrived and were not taken. */
  count(name) {
    return this.#queue(name).length;
  }

  /** A round trip: whatever was sent before it has arrived when this resolves. */
  async settle() {
    await this.ask('echo-ack', 'settle');
  }

  /** Resolves when the connection has moved from polling to websocket. */
  upgraded() {
    return until(() => this.transport === 'websocket', `${this.client.version}: the upgrade`);
  }

  /** Another namespace on the same connection. */
  also(namespace, auth) {
    return new Peer(this.client, this.socket.io.socket(namespace, auth ? { auth } : undefined));
  }

  async close() {
    this.socket.io.reconnection(false);
    this.socket.disconnect();
    this.socket.io.engine?.close();
    await sleep(0);
  }

  #listen() {
    const { socket } = this;
    if (this.client.revision === 5) {
      socket.onAny((...args) => this.#arrived(args));
    } else {
      const onevent = socket.onevent;
      socket.onevent = (packet) => {
        this.#arrived([...packet.data]);
        onevent.call(socket, packet);
      };
    }
    socket.on('connect', () => this.#arrived(['(connect)']));
    socket.on('disconnect', (reason) => this.#arrived(['(disconnect)', reason]));
    socket.on('connect_error', (error) => this.#arrived(['(connect_error)', error]));
    // This event is an ERROR packet of revision 4. Newer clients do not have it, but an application may emit an event
    // with this name.
    if (this.client.revision === 4) socket.on('error', (payload) => this.#arrived(['(error)', payload]));
    socket.on('question', (...args) => args.pop()(...args));
  }

  #arrived([name, ...args]) {
    this.log.push([name, ...args]);
    const waiter = this.#waiting(name).shift();
    if (waiter) waiter(args);
    else this.#queue(name).push(args);
  }

  #queue(name) {
    return entry(this.#queues, name);
  }

  #waiting(name) {
    return entry(this.#waiters, name);
  }

  #tail() {
    return JSON.stringify(this.log.slice(-3))?.slice(0, 200);
  }
}

/** Starts a client and does not wait. `t` closes it at the end of the test. */
export function start(t, client, { url = base, ns = '/', token, ...options } = {}) {
  const io = client.io;
  const socket = io(url + ns, { ...DEFAULTS, ...credentials(client, token), ...options });
  const peer = new Peer(client, socket);
  t.after(() => peer.close());
  return peer;
}

/** Starts a client and waits for its namespace. */
export async function connect(t, client, options) {
  const peer = start(t, client, options);
  await peer.take('(connect)');
  return peer;
}

/** The refusal of a connection as `{message, data}`, for both revisions. */
export async function refusal(peer) {
  if (peer.client.revision === 5) {
    const [error] = await peer.take('(connect_error)');
    return { message: error.message, data: error.data };
  }
  const [payload] = await peer.take('(error)');
  return { data: payload };
}

function credentials(client, token) {
  if (token === undefined) return {};
  return client.revision === 5 ? { auth: { token } } : { query: `token=${encodeURIComponent(token)}` };
}

function entry(map, name) {
  let list = map.get(name);
  if (!list) map.set(name, (list = []));
  return list;
}
