/**
 * frame.js: a small chat on the genuine client of one generation.
 *
 *     /frame?kind=0.6&generation=0.6.18&script=/clients/0.6.18/socket.io.js[&transport=xhr-polling][&autosay=1]
 *
 * `adapters` contains the differences between the generations: one adapter for each interface that the clients have had.
 */

import { Log, Timeline, element, family, readEntries, readEntry, readPeople } from "./room.js";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const generation = (query.get("generation") ?? "?").slice(0, 20);
const name = `v${generation}`;

const ids = new Set();
const log = new Log($("scroller"), $("messages"), { isMine: (id) => ids.has(id) });
let client = null;
let state = "loading";
let timeline = new Timeline(); // a new one for each connection
let early = []; // entries that came between hello and its answer
let present = [];

window.__chat = {
  get generation() { return generation; },
  get entries() { return timeline.entries; },
  get present() { return present; },
  get state() { return state; },
  get transport() { return client?.transport() ?? null; },
};

// ----------------------------------------------------------------------------------------------- adapters
// An adapter connects and returns { say(text), transport() }. It calls room.joined(welcome) after each connection, with the
// server's answer to `hello` or with our id alone, then room.entry(raw), room.present(raw) and room.left().

/**
 * 0.6 has messages and no events. We send a JSON message, { hello: name } or { say: text }. An event of the server
 * comes as { event, args }.
 */
function sixth(io, room, transport) {
  const socket = new io.Socket(null, {
    rememberTransport: false, // it would write a cookie, which the other frames would read
    transports: transport ? [transport] : ["websocket", "xhr-polling", "jsonp-polling"],
  });
  socket.on("connect", () => {
    socket.send({ hello: name });
    room.joined({ id: socket.transport.sessionid });
  });
  socket.on("message", (news) => {
    if (news?.event === "entry") room.entry(news.args?.[0]);
    if (news?.event === "present") room.present(news.args?.[0]);
  });
  socket.on("disconnect", room.left);
  socket.connect();
  return { say: (text) => socket.send({ say: text }), transport: () => socket.connected ? socket.transport.type : null };
}

/** 0.7 to 0.9: events and acknowledgements, options with spaces in their names. */
function ninth(io, room, transport) {
  if (transport) io.transports = [transport]; // the option of the same name would be merged into the default list, and would not replace it
  const socket = io.connect("", { "max reconnection attempts": 1000, "reconnection limit": 5000 });
  events(socket, room);
  return {
    say: (text) => socket.emit("say", text, room.answered),
    transport: () => socket.socket.connected ? socket.socket.transport.name : null,
  };
}

/** 1.x to 4.x: the interface has stayed the same. */
function modern(io, room, transport) {
  const options = { reconnectionDelay: 500, reconnectionDelayMax: 5000 };
  if (transport) options.transports = [transport];
  const socket = io(location.origin, options);
  events(socket, room);
  return {
    say: (text) => socket.emit("say", text, room.answered),
    transport: () => socket.connected ? socket.io.engine?.transport?.name : null,
  };
}

function events(socket, room) {
  socket.on("connect", () => socket.emit("hello", { name }, room.joined));
  socket.on("entry", room.entry);
  socket.on("present", room.present);
  socket.on("disconnect", room.left);
}

const legacy = ["websocket", "xhr-polling", "jsonp-polling"];
const today = ["websocket", "polling"];
const adapters = new Map([
  ["0.6", { connect: sixth, transports: legacy }],
  ["0.9", { connect: ninth, transports: legacy }],
  ["2", { connect: modern, transports: today }],
  ["4", { connect: modern, transports: today }],
]);

// --------------------------------------------------------------------------------------------------- room

const room = {
  joined(welcome) {
    if (typeof welcome?.id === "string") ids.add(welcome.id);
    state = "connected";
    timeline = new Timeline();
    if (welcome?.history) log.clear(); // the history contains everything that was on the page
    [...readEntries(welcome?.history), ...early.splice(0)].forEach(show);
    if (welcome?.present) room.present(welcome.present);
    showState();
    if (query.get("autosay") !== "1" || room.greeted) return;
    room.greeted = true;
    client.say(`Hello, I am Socket.IO ${generation}.`);
  },
  entry(raw) {
    const entry = readEntry(raw);
    if (!entry) return;
    if (state === "connected") show(entry);
    else if (early.length < 100) early.push(entry);
  },
  present(raw) {
    present = readPeople(raw);
  },
  left() {
    early = [];
    state = "connecting";
    showState();
  },
  answered(answer) {
    if (typeof answer?.error === "string") log.add(element("li", { className: "notice" }, answer.error.slice(0, 200)));
  },
  greeted: false,
};

function show(entry) {
  if (timeline.push(entry)) log.add(entry);
}

function showState() {
  const words = { loading: "loading…", connecting: "connecting…", connected: client?.transport() ?? "connected", failed: "failed" };
  if ($("state").textContent !== words[state]) $("state").textContent = words[state];
  $("state").dataset.state = { connected: "connected", failed: "closed" }[state] ?? "connecting";
}

$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || state !== "connected") return; // the old clients lose messages that are sent while they are not connected
  client.say(text);
  $("text").value = "";
};

// ---------------------------------------------------------------------------------------------- beginning

/** Loads the client as a classic script, as it was written for. Only a script of the server's own collection may be loaded. */
function load(path) {
  return new Promise((resolve, reject) => {
    if (!/^\/clients\/\w[\w.-]*\/\w[\w.-]*\.js$/.test(path)) return reject(new Error("not a path under /clients/"));
    const script = element("script", { src: path, onload: resolve, onerror: () => reject(new Error(`${path} did not load`)) });
    document.head.append(script);
  });
}

/** The years of this generation, or "". */
function year(generation) {
  const lines = new Map([["0.6", 2011], ["0.7", 2011], ["0.8", 2011], ["0.9", 2012], ["1", 2014], ["2", 2017], ["3", 2020], ["4", 2021]]);
  return lines.get(/^0\.\d|^\d/.exec(generation)?.[0]) ?? "";
}

function fail(error) {
  state = "failed";
  showState();
  log.add(element("li", { className: "notice" }, error.message));
}

async function begin() {
  document.body.dataset.family = family(generation);
  document.title = `Socket.IO ${generation}`;
  $("version").textContent = generation;
  const adapter = adapters.get(query.get("kind"));
  if (!adapter) throw new Error("a kind of client that this page does not know");
  const wanted = query.get("transport");
  const transport = adapter.transports.includes(wanted) ? wanted : null;
  $("transport").append(new Option("auto", ""), ...adapter.transports.map((name) => new Option(name)));
  $("transport").value = transport ?? "";
  await load(query.get("script") ?? "");
  const { io } = window;
  $("bundle").textContent = [year(generation), io.version && io.version !== generation && `client ${io.version}`].filter(Boolean).join(", ");
  state = "connecting";
  showState();
  client = adapter.connect(io, room, transport);
  setInterval(showState, 500); // the old clients do not report a change of their transport
}

$("transport").onchange = () => {
  query.set("transport", $("transport").value);
  location.search = query;
};

begin().catch(fail);
