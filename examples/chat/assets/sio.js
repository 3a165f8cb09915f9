/**
 * sio.js: a Socket.IO client for today's wire (Engine.IO 4, Socket.IO 5), in plain ES modules.
 *
 *     import { Socket } from "./sio.js";
 *
 *     const socket = new Socket({ auth: { token: "abc" } });
 *     socket.on("connect", () => console.log(socket.id, socket.transport));
 *     socket.on("news", (headline, picture) => {});            // a picture arrives as Uint8Array
 *     socket.emit("upload", "cat.png", new Uint8Array([1, 2, 3]));
 *     const sum = await socket.emitWithAck("sum", 20, 22);      // rejects after options.ackTimeout
 *
 * encode() and Decoder turn packets into one text and its attachments, and back (docs/protocol/socket-io.md §2). Socket is
 * one namespace of one server: events, acknowledgements and a buffer; it reconnects by itself. engine.js has the rest.
 *
 * Left out, on purpose: several namespaces over one connection (open two sockets), connection state recovery, WebTransport,
 * Blobs, and protocol revisions before 5.
 *
 * Nothing that a server sends makes this module throw into the application. A packet that breaks the protocol ends the
 * connection with the reason "parse error", and the socket connects again.
 */

import { Engine, ProtocolError } from "./engine.js";

/** How many attachments one packet may have. Genuine peers refuse more than this, and so do we. */
const MAX_ATTACHMENTS = 10;
/** How many bytes the attachments of one packet may have together. */
const MAX_ATTACHMENT_BYTES = 64 * 1024 * 1024;
/** Events about the connection. Only this module may raise them: a packet with such an event is refused. */
const RESERVED = new Set(["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]);

const CONNECT = 0, DISCONNECT = 1, EVENT = 2, ACK = 3, CONNECT_ERROR = 4, BINARY_EVENT = 5, BINARY_ACK = 6;

/** The bytes of an ArrayBuffer or of a view into one; null for everything else. */
function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0));
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
  return null;
}

/**
 * One packet as Engine.IO messages: the text, then its attachments (docs/protocol/socket-io.md §2).
 *
 *     type [attachments "-"] [namespace ","] [id] [json]        52-/admin,7["b",{"_placeholder":true,"num":0},…]
 *
 * Attachments are copied, so the caller may reuse its buffers at once.
 */
export function encode({ type, namespace = "/", id, data }) {
  const binary = { [EVENT]: BINARY_EVENT, [ACK]: BINARY_ACK };
  const attachments = [];
  const json = data === undefined ? "" : JSON.stringify(data, function (key, value) {
    const bytes = bytesOf(this[key]); // not `value`: it has turned a Node Buffer into a plain object
    if (!bytes || !binary[type]) return value;
    return { _placeholder: true, num: attachments.push(bytes) - 1 };
  });
  if (attachments.length > MAX_ATTACHMENTS) throw new RangeError(`more than ${MAX_ATTACHMENTS} attachments`);
  const head = attachments.length ? `${binary[type]}${attachments.length}-` : `${type}`;
  return [`${head}${namespace === "/" ? "" : `${namespace},`}${id ?? ""}${json}`, ...attachments];
}

/** Takes Engine.IO messages one by one, and returns a packet when all of it has arrived. Throws if a message is invalid. */
export class Decoder {
  /** A text whose attachments have not all arrived: { packet, json, wanted, attachments, bytes }. */
  #pending = null;

  /** A text message: a packet, or null when its attachments follow. */
  text(text) {
    if (this.#pending) throw new ProtocolError("text while attachments are missing");
    const head = /^([0-6])(?:(\d{1,3})-)?(?:(\/[^,]*)(?:,|$))?(\d{1,15})?/.exec(text);
    if (!head) throw new ProtocolError("unknown packet type");
    const type = Number(head[1]);
    const packet = { type, namespace: head[3] ?? "/", id: head[4], data: undefined };
    const json = text.slice(head[0].length);
    if (type !== BINARY_EVENT && type !== BINARY_ACK) {
      if (head[2] !== undefined) throw new ProtocolError("attachments where none may be");
      return parse(packet, json);
    }
    const wanted = Number(head[2] ?? 0);
    if (wanted < 1 || wanted > MAX_ATTACHMENTS) throw new ProtocolError("illegal number of attachments");
    packet.type = type === BINARY_EVENT ? EVENT : ACK;
    this.#pending = { packet, json, wanted, attachments: [], bytes: 0 };
    return null;
  }

  /** A binary message: the packet it completes, or null when more are missing. */
  binary(bytes) {
    const pending = this.#pending;
    if (!pending) throw new ProtocolError("attachment without a packet");
    pending.bytes += bytes.byteLength;
    if (pending.bytes > MAX_ATTACHMENT_BYTES) throw new ProtocolError("attachments too big");
    if (pending.attachments.push(bytes) < pending.wanted) return null;
    this.#pending = null;
    return parse(pending.packet, pending.json, (_key, value) => {
      if (value?._placeholder !== true) return value;
      if (!Number.isInteger(value.num) || !(value.num in pending.attachments)) throw new ProtocolError("illegal placeholder");
      return pending.attachments[value.num];
    });
  }
}

/** Fills `packet.data` from its JSON and checks that it has the shape its type asks for. */
function parse(packet, json, reviver) {
  const data = json === "" ? undefined : JSON.parse(json, reviver);
  const object = data !== null && typeof data === "object" && !Array.isArray(data);
  const valid = {
    [CONNECT]: () => data === undefined || object,
    [DISCONNECT]: () => data === undefined,
    [EVENT]: () => Array.isArray(data) && (typeof data[0] === "number" || (typeof data[0] === "string" && !RESERVED.has(data[0]))),
    [ACK]: () => Array.isArray(data),
    [CONNECT_ERROR]: () => object || typeof data === "string",
  };
  if (!valid[packet.type]()) throw new ProtocolError("invalid payload");
  packet.data = data;
  return packet;
}

const DEFAULTS = {
  url: "/", //                  the server; relative to the page
  path: "/socket.io/", //       where on the server
  namespace: "/", //            the namespace on the server
  mode: "auto", //              "auto", "websocket", "polling" or "upgrade", see Engine
  auth: undefined, //           an object for the server's middleware, or a function (sync or async) that gives one per connection
  autoConnect: true, //         begin at once
  reconnection: true, //        come back after a connection was lost
  reconnectionDelay: 500, //    ms before the first attempt; doubles with each further one …
  reconnectionDelayMax: 5000, // … up to this
  randomizationFactor: 0.5, //  each delay is spread by ± this part, so that a thousand clients do not return in one instant
  connectTimeout: 20000, //     ms from the attempt to the server's welcome
  fallbackTimeout: 5000, //     ms that mode "auto" gives a websocket before it tries polling
  ackTimeout: 10000, //         ms emitWithAck waits
  maxBuffered: 256, //          packets kept while there is no connection, or while a POST is under way
  onstate: undefined, //        called as onstate(state, socket) when `state` or `transport` has changed
};

/**
 * One namespace of one server, kept connected.
 *
 * `state` is "connecting", "connected", "waiting" (for the next attempt, see `retryAt`) or "closed"; `id` is our id on the server.
 *
 * Events of its own: `connect`; `disconnect` (reason); `connect_error` (error, with `error.data` if the server refused us).
 * After "io server disconnect" or a refusal by the server it stays closed until connect() is called, because the server has decided so.
 */
export class Socket {
  id = undefined;
  state = "closed";
  retryAt = 0;
  #options;
  #engine = null;
  #decoder = null;
  #handlers = new Map();
  #buffer = []; // { id, messages } while not connected
  #acks = new Map(); // id => { resolve, reject, timer }
  #nextId = 0;
  #attempts = 0;
  #timer = 0; // of the running attempt, or of the pause before the next

  constructor(options = {}) {
    this.#options = { ...DEFAULTS, ...options };
    const { url, path, namespace, mode } = this.#options;
    if (!["auto", "websocket", "polling", "upgrade"].includes(mode)) throw new RangeError(`unknown mode: ${mode}`);
    if (!/^\/[^,\x00-\x1f]*$/.test(namespace)) throw new RangeError(`not a namespace: ${namespace}`);
    this.#options.url = new URL(path, new URL(url, globalThis.location?.href)).href;
    if (this.#options.autoConnect) this.connect();
  }

  get connected() {
    return this.state === "connected";
  }

  /** "websocket", "polling", or null while there is neither. */
  get transport() {
    return this.connected ? this.#engine.transport : null;
  }

  /** Adds a handler; returns a function that removes it. If the server wants an acknowledgement, the last argument is a function to call. */
  on(name, handler) {
    if (!this.#handlers.has(name)) this.#handlers.set(name, new Set());
    this.#handlers.get(name).add(handler);
    return () => this.#handlers.get(name)?.delete(handler);
  }

  /** Sends, or keeps until there is a connection. False if the buffer is full and the event was dropped. */
  emit(name, ...args) {
    return this.#emit(undefined, name, args);
  }

  /** Sends an event only if it can leave now; for events that are worthless a moment later. */
  volatile(name, ...args) {
    return this.connected && this.#engine.writable && this.#engine.send(this.#event(undefined, name, args));
  }

  /** Sends and resolves with what the peer answers (its first argument); rejects on a timeout or if the connection was lost meanwhile. */
  emitWithAck(name, ...args) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      if (!this.#emit(id, name, args)) throw new Error("the buffer is full");
      const timer = setTimeout(() => {
        this.#buffer = this.#buffer.filter((entry) => entry.id !== id); // nobody waits for the answer any more: do not send the event later
        this.#settle(id, (ack) => ack.reject(new Error("operation has timed out")));
      }, this.#options.ackTimeout);
      this.#acks.set(id, { resolve, reject, timer });
    });
  }

  /** Connects. While waiting for the next attempt: makes it now. */
  connect() {
    if (this.state === "connecting" || this.connected) return this;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#lost("connect timeout", new Error("connect timeout"));
    }, this.#options.connectTimeout);
    this.#decoder = new Decoder();
    this.#engine = new Engine(this.#options, {
      opened: (engine) => this.#join(engine),
      message: (engine, message) => this.#receive(engine, message),
      moved: () => this.#changed(),
      closed: (engine, reason, error) => engine === this.#engine && this.#lost(reason, error),
    });
    this.#changed("connecting");
    return this;
  }

  /** Disconnects and does not reconnect. Events that are not sent yet are kept for the next connect(). */
  disconnect() {
    if (this.connected) this.#engine.send(encode({ type: DISCONNECT, namespace: this.#options.namespace }));
    this.#close("io client disconnect");
    return this;
  }

  // -- sending

  #event(id, name, args) {
    if (RESERVED.has(name)) throw new RangeError(`reserved event name: ${name}`);
    return encode({ type: EVENT, namespace: this.#options.namespace, id, data: [name, ...args] });
  }

  #emit(id, name, args) {
    const messages = this.#event(id, name, args);
    const full = (count) => count >= this.#options.maxBuffered;
    if (this.connected) {
      if (full(this.#engine.backlog)) return false;
      if (this.#engine.send(messages)) return true; // otherwise the engine was dead already, and we are no longer connected
    }
    if (full(this.#buffer.length)) return false;
    this.#buffer.push({ id, messages });
    return true;
  }

  #settle(id, how) {
    const ack = this.#acks.get(id);
    if (!ack) return; // unknown or late; both are harmless
    this.#acks.delete(id);
    clearTimeout(ack.timer);
    how(ack);
  }

  // -- receiving

  /** The session is open; ask for our namespace. */
  async #join(engine) {
    const { auth, namespace } = this.#options;
    try {
      const data = typeof auth === "function" ? await auth() : auth;
      if (engine === this.#engine) engine.send(encode({ type: CONNECT, namespace, data }));
    } catch (error) { // the application's own function threw it
      if (engine === this.#engine) this.#close(null, error);
    }
  }

  /** Handles a message. If it breaks the protocol, this throws into the engine, which ends the session. */
  #receive(engine, message) {
    if (engine !== this.#engine) return;
    const packet = typeof message === "string" ? this.#decoder.text(message) : this.#decoder.binary(message);
    if (!packet || packet.namespace !== this.#options.namespace) return;
    const { type, id, data } = packet;
    if (type === CONNECT) return this.#welcome(data);
    if (type === CONNECT_ERROR) return this.#refused(data);
    if (!this.connected) return;
    if (type === DISCONNECT) return this.#close("io server disconnect");
    if (type === ACK) return this.#settle(Number(id ?? NaN), (ack) => ack.resolve(data[0]));
    const [name, ...args] = data;
    if (id !== undefined) args.push(this.#acknowledge(engine, id));
    this.#fire(String(name), args);
  }

  #welcome(data) {
    if (this.connected) throw new ProtocolError("connected twice");
    if (typeof data?.sid !== "string") { // a 2.x server lets every client in and sends no id
      return this.#close(null, new Error("the server speaks an older protocol revision"));
    }
    clearTimeout(this.#timer);
    this.id = data.sid;
    this.#attempts = 0;
    for (const { messages } of this.#buffer.splice(0)) this.#engine.send(messages);
    this.#changed("connected");
    if (this.connected) this.#fire("connect", []);
  }

  #refused(data) {
    if (this.connected) throw new ProtocolError("refused after the welcome");
    const message = typeof data === "string" ? data : String(data.message ?? "refused");
    this.#close(null, Object.assign(new Error(message), { data: data.data }));
  }

  /** Returns the function that a handler calls to answer. It answers once, on the connection that asked. */
  #acknowledge(engine, id) {
    let done = false;
    return (...data) => {
      if (done || engine !== this.#engine || !this.connected) return;
      done = true;
      engine.send(encode({ type: ACK, namespace: this.#options.namespace, id, data }));
    };
  }

  #fire(name, args) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) guard(handler, ...args);
  }

  // -- endings

  /** The connection was lost. Connects again, if the options say so. */
  #lost(reason, error) {
    const { reconnection, reconnectionDelay, reconnectionDelayMax, randomizationFactor } = this.#options;
    if (!reconnection) return this.#close(reason, error);
    // The upper limit is applied before the jitter, so that clients which have waited long are still spread.
    const delay = Math.min(reconnectionDelay * 2 ** this.#attempts++, reconnectionDelayMax)
      * (1 + randomizationFactor * (2 * Math.random() - 1));
    this.#drop(reason, error, () => {
      this.retryAt = Date.now() + delay;
      this.#timer = setTimeout(() => this.connect(), delay);
      return "waiting";
    });
  }

  /** Ends the connection, and does not reconnect. */
  #close(reason, error) {
    this.#attempts = 0;
    this.#drop(reason, error, () => "closed");
  }

  #drop(reason, error, next) {
    const wasConnected = this.connected;
    const engine = this.#engine;
    this.#engine = null;
    this.id = undefined;
    clearTimeout(this.#timer);
    this.#changed(next());
    engine?.close();
    const kept = new Set(this.#buffer.map((entry) => entry.id));
    for (const id of [...this.#acks.keys()]) {
      if (!kept.has(id)) this.#settle(id, (ack) => ack.reject(new Error("socket has been disconnected")));
    }
    if (wasConnected) this.#fire("disconnect", [reason]);
    else if (error) this.#fire("connect_error", [error]);
  }

  #changed(state = this.state) {
    this.state = state;
    if (this.#options.onstate) guard(this.#options.onstate, state, this);
  }
}

/** Calls the application. An error that it throws is reported, and does not disturb other handlers or the connection. */
function guard(handler, ...args) {
  try {
    handler(...args);
  } catch (error) {
    queueMicrotask(() => { throw error; });
  }
}
