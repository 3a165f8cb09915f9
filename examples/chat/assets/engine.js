/**
 * engine.js: one Engine.IO 4 session, and the two transports that carry it (docs/protocol/engine-io.md).
 *
 *     PollingTransport, WebSocketTransport   Engine.IO packets <-> HTTP bodies, frames
 *     Engine                                 handshake, heartbeat, upgrade, close. Is used once; sio.js makes a new one to reconnect
 *
 * A transport carries packets: a string is a text packet with its type digit, a Uint8Array is a binary message.
 * It tells its owner what happens: opened(t), received(t, packet), drained(t), closed(t, reason, error).
 */

/** The longest time a browser timer can hold; anything above it fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Between the packets of an HTTP body. JSON escapes control characters, so no packet of ours contains it. */
const SEPARATOR = "\x1e";

/** The peer broke the protocol. */
export class ProtocolError extends Error {}

/** Packets as websocket messages, one each. */
class WebSocketTransport {
  name = "websocket";
  #socket;

  constructor(url, owner) {
    url.searchParams.set("transport", "websocket");
    url.protocol = url.protocol.replace(/^http/, "ws");
    const socket = this.#socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => owner.opened(this);
    socket.onmessage = ({ data }) => owner.received(this, typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = ({ wasClean }) =>
      owner.closed(this, wasClean ? "transport close" : "transport error", new Error("the websocket was closed"));
  }

  /** Whether nothing waits in the browser's own buffer. */
  get writable() {
    return this.#socket.readyState === WebSocket.OPEN && this.#socket.bufferedAmount === 0;
  }

  /** Takes everything out of the queue and sends it. */
  flush(queue) {
    if (this.#socket.readyState === WebSocket.OPEN) for (const packet of queue.splice(0)) this.#socket.send(packet);
  }

  close(queue) {
    this.flush(queue);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

/** Packets as HTTP bodies: one GET that the server holds until it has something to say, and at most one POST beside it. */
class PollingTransport {
  name = "polling";
  maxPayload = Infinity;
  #url;
  #owner;
  #abort = new AbortController();
  #closed = false;
  #paused = false;
  #polling = null; // the promise of the running poll loop
  #posting = null; // the promise of the running POST

  constructor(url, owner) {
    url.searchParams.set("transport", "polling");
    this.#url = url;
    this.#owner = owner;
    this.resume();
  }

  /** Every request after the handshake names the session. */
  set sid(sid) {
    this.#url.searchParams.set("sid", sid);
  }

  get writable() {
    return !this.#posting && !this.#paused;
  }

  /** Stops polling and sending, and resolves when the requests under way have ended. Used before a switch to websocket. */
  async pause() {
    this.#paused = true;
    await Promise.all([this.#polling, this.#posting]);
  }

  resume() {
    this.#paused = false;
    this.#polling ??= this.#poll().catch((error) => this.#fail(error)).finally(() => { this.#polling = null; });
  }

  flush(queue) {
    if (!queue.length || !this.writable || this.#closed) return;
    this.#posting = this.#post(this.#batch(queue)).catch((error) => this.#fail(error)).finally(() => {
      this.#posting = null;
      if (!this.#closed) this.#owner.drained(this);
    });
  }

  /** Sends a close packet after everything that still waits. A failure is not reported: the session may be gone already. */
  async close(queue) {
    this.#closed = true;
    if (this.#url.searchParams.has("sid")) {
      setTimeout(() => this.#abort.abort(), 3000); // a dead network answers nothing
      await this.#posting;
      await this.#post([...queue.splice(0), "1"].map(asText)).catch(() => {});
    }
    this.#abort.abort();
  }

  async #poll() {
    while (!this.#closed && !this.#paused) {
      const body = await this.#request({ method: "GET", cache: "no-store" });
      for (const packet of body.split(SEPARATOR)) {
        if (this.#closed) return;
        this.#owner.received(this, packet[0] === "b" ? fromBase64(packet.slice(1)) : packet);
      }
    }
  }

  async #post(packets) {
    await this.#request({ method: "POST", body: packets.join(SEPARATOR), headers: { "content-type": "text/plain;charset=UTF-8" } });
  }

  /** As many packets as fit into one body. The first always goes: the server decides whether it is too large. */
  #batch(queue) {
    let size = 0, count = 0;
    const texts = [];
    while (count < queue.length) {
      const text = asText(queue[count]);
      size += 1 + new TextEncoder().encode(text).length;
      if (count > 0 && size > this.maxPayload) break;
      texts.push(text);
      count += 1;
    }
    queue.splice(0, count);
    return texts;
  }

  async #request(init) {
    const response = await fetch(this.#url, { ...init, signal: this.#abort.signal });
    const body = await response.text();
    if (response.ok) return body;
    let message = `HTTP ${response.status}`;
    try { message = String(JSON.parse(body).message ?? message); } catch { /* no JSON, no better message */ }
    throw new Error(message);
  }

  #fail(error) {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort(); // the other request must not outlive this one
    const broken = error instanceof ProtocolError;
    this.#owner.closed(this, broken ? "parse error" : "transport error", error);
  }
}

const asText = (packet) => typeof packet === "string" ? packet : `b${toBase64(packet)}`;

function toBase64(bytes) {
  let text = "";
  // In slices, because a large attachment would exceed the limit of an argument list.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    throw new ProtocolError("not base64");
  }
}

/**
 * One Engine.IO session, from the first request to the close.
 *
 *     opening --0{…}--> open --(mode "upgrade": 2probe, 3probe, pause, 5)--> open on websocket
 *        |                |
 *        +----------------+--> closed (once, with a reason)
 *
 * `mode`: "auto" is websocket, or polling if no websocket can be opened; "websocket" and "polling" use that transport only;
 * "upgrade" starts on polling and moves to websocket, as the genuine clients do.
 */
export class Engine {
  state = "opening";
  #options;
  #owner;
  #candidates;
  #transport = null;
  #probe = null;
  #queue = [];
  #sid = null;
  #silenceMs = 0; // how long the server may be silent
  #deadline = Infinity;
  #timers = { fallback: 0, heartbeat: 0, probe: 0 };

  /** The engine calls its `owner`: opened(engine), message(engine, textOrBytes), moved(engine), closed(engine, reason, error). */
  constructor(options, owner) {
    this.#options = options;
    this.#owner = owner;
    const order = { auto: ["websocket", "polling"], websocket: ["websocket"], polling: ["polling"], upgrade: ["polling"] };
    this.#candidates = order[options.mode];
    this.#openNext();
  }

  get transport() {
    return this.#transport?.name ?? null;
  }

  /** Whether a packet could leave right now. Volatile events are sent only then. */
  get writable() {
    return this.state === "open" && !this.#queue.length && this.#transport.writable;
  }

  get backlog() {
    return this.#queue.length;
  }

  /** Sends messages of the layer above; false if the connection turned out to be dead. */
  send(messages) {
    // The heartbeat timer may be late: browsers slow down the timers of hidden pages, and a laptop may have slept.
    if (this.state === "open" && Date.now() > this.#deadline) this.#end("ping timeout");
    if (this.state !== "open") return false;
    this.#queue.push(...messages.map((message) => typeof message === "string" ? `4${message}` : message));
    this.#transport.flush(this.#queue);
    return true;
  }

  /** Closes properly: packets that were sent before still go out. */
  close() {
    this.#end("forced close");
  }

  #url() {
    const url = new URL(this.#options.url);
    url.searchParams.set("EIO", "4");
    if (this.#sid) url.searchParams.set("sid", this.#sid);
    return url;
  }

  #openNext() {
    const [name, ...rest] = this.#candidates;
    this.#candidates = rest;
    clearTimeout(this.#timers.fallback);
    // Some proxies swallow a websocket without an error, so a timer falls back to polling as well.
    if (rest.length) this.#timers.fallback = setTimeout(() => this.closed(this.#transport), this.#options.fallbackTimeout);
    try {
      this.#transport = new (name === "websocket" ? WebSocketTransport : PollingTransport)(this.#url(), this);
    } catch (error) { // a page's own policy may forbid websockets; the caller is still inside our constructor, so report it later
      queueMicrotask(() => this.closed(this.#transport, "transport error", error));
    }
  }

  // -- called by transports

  opened(transport) {
    if (transport === this.#probe) transport.flush(["2probe"]);
  }

  drained(transport) {
    if (transport === this.#transport && this.state === "open") transport.flush(this.#queue);
  }

  closed(transport, reason = "transport error", error = undefined) {
    if (transport === this.#probe && transport) return this.#abandonProbe();
    if (transport !== this.#transport || this.state === "closed") return;
    if (this.state === "opening" && this.#candidates.length) {
      transport?.close([]);
      return this.#openNext();
    }
    this.#end(reason, error);
  }

  received(transport, packet) {
    if (this.state === "closed") return;
    if (transport === this.#probe) return void this.#answerProbe(packet);
    if (transport !== this.#transport) return;
    try {
      this.#handle(packet);
    } catch (error) {
      this.#end("parse error", error);
    }
  }

  #handle(packet) {
    const type = typeof packet === "string" ? packet[0] : "4"; // binary is always a message
    if ((type === "0") !== (this.state === "opening")) throw new ProtocolError("the open packet comes first, and once");
    switch (type) {
      case "0": return this.#handshake(JSON.parse(packet.slice(1)));
      case "1": return this.#end("transport close");
      case "2": return this.#heartbeat();
      case "3": case "6": return; // nothing to do on an established transport
      case "4": return this.#owner.message(this, typeof packet === "string" ? packet.slice(1) : packet);
      default: throw new ProtocolError("unknown packet type");
    }
  }

  #handshake({ sid, upgrades, pingInterval, pingTimeout, maxPayload }) {
    if (typeof sid !== "string" || sid === "" || sid.length > 256) throw new ProtocolError("no session id");
    this.#silenceMs = Math.min(pingInterval + pingTimeout, MAX_TIMER_MS);
    if (!(pingInterval > 0 && pingTimeout > 0 && this.#silenceMs > 0)) throw new ProtocolError("no heartbeat interval");
    clearTimeout(this.#timers.fallback);
    this.state = "open";
    this.#sid = this.#transport.sid = sid;
    if (maxPayload > 0) this.#transport.maxPayload = maxPayload;
    this.#watch();
    this.#owner.opened(this);
    const upgrade = this.#options.mode === "upgrade" && Array.isArray(upgrades) && upgrades.includes("websocket");
    if (upgrade && this.state === "open") this.#startProbe();
  }

  // -- heartbeat: the server pings, we answer, and only its ping proves that it is alive

  #heartbeat() {
    this.#watch();
    this.#queue.push("3");
    this.#transport.flush(this.#queue);
  }

  #watch() {
    clearTimeout(this.#timers.heartbeat);
    this.#deadline = Date.now() + this.#silenceMs;
    this.#timers.heartbeat = setTimeout(() => this.#end("ping timeout"), this.#silenceMs);
  }

  // -- upgrade (docs/protocol/engine-io.md §7)

  #startProbe() {
    this.#timers.probe = setTimeout(() => this.#abandonProbe(), this.#options.connectTimeout);
    try {
      this.#probe = new WebSocketTransport(this.#url(), this);
    } catch {
      this.#abandonProbe(); // stay on polling
    }
  }

  async #answerProbe(packet) {
    const probe = this.#probe;
    if (packet !== "3probe") return this.#abandonProbe();
    await this.#transport.pause(); // everything that polling still brings comes before anything on the websocket
    if (this.#probe !== probe || this.state !== "open") return;
    clearTimeout(this.#timers.probe);
    this.#probe = null;
    this.#transport = probe;
    probe.flush(["5"]);
    probe.flush(this.#queue);
    this.#owner.moved(this);
  }

  #abandonProbe() {
    clearTimeout(this.#timers.probe);
    const probe = this.#probe;
    this.#probe = null;
    probe?.close([]);
    if (this.state !== "open") return;
    this.#transport.resume();
    this.#transport.flush(this.#queue);
  }

  #end(reason, error = new Error(reason)) {
    if (this.state === "closed") return;
    this.state = "closed";
    Object.values(this.#timers).forEach(clearTimeout);
    this.#probe?.close([]);
    this.#transport?.close(this.#queue);
    this.#owner.closed(this, reason, error);
  }
}
