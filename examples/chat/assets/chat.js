/**
 * chat.js: the chat page. It sends `hello`, shows what arrives, and sends what the user writes. sio.js carries the events.
 *
 *     to the server    hello ({ name }) -> { id, name, history, present }    say (text) -> { ok } or { error }
 *                      rename (name)    typing (boolean, volatile)
 *     from the server  entry (Entry)    present ([Person])    typing ({ id, name, on })
 *
 * The address may carry ?name=Ada and ?transport=polling | upgrade | websocket (see `mode` in sio.js).
 */

import { Socket } from "./sio.js";
import { Log, MAX_NAME, MAX_TEXT, Timeline, element, family, message, notice, personRow, readEntries, readEntry, readPeople } from "./room.js";

/** The most messages that wait for the server to come back. */
const MAX_OUTBOX = 20;
/** The most entries that are kept between our hello and its answer. */
const MAX_EARLY = 1000;
/** "… is typing" disappears after this time without news, in milliseconds. We repeat our own after half of it. */
const TYPING_MS = 6000;
const MAX_TYPING = 50;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

const ids = new Set(); // all ids that the server has given us, one for each connection
const timeline = new Timeline();
const log = new Log($("scroller"), $("messages"), { isMine: (id) => ids.has(id), onunread: showUnread });
let present = [];
let greeted = false; // the server has answered our hello on this connection
let early = []; // entries that came before that answer

const modes = { polling: "polling", websocket: "websocket", upgrade: "upgrade" };
const socket = new Socket({ mode: modes[query.get("transport")] ?? "auto", autoConnect: false, onstate: showState });

/** For curious people, and for end-to-end tests. */
window.__chat = {
  get entries() { return timeline.entries; },
  get present() { return present; },
  get state() { return greeted ? "connected" : socket.connected ? "connecting" : socket.state; },
  get transport() { return socket.transport; },
  get id() { return socket.id; },
  get name() { return me.name; },
};

// --------------------------------------------------------------------------------------------------- name

const me = { name: tidy(query.get("name")) || tidy(remembered()) || invented() };
$("me").textContent = me.name;
remember(me.name);

function tidy(name) {
  return (name ?? "").replace(/\s+/g, " ").trim().slice(0, MAX_NAME);
}

function invented() {
  const manners = "Brave Bright Calm Clever Curious Eager Gentle Happy Jolly Kind Lively Lucky Merry Mellow Nimble Quiet Quick Sunny Swift Witty".split(" ");
  const animals = "Badger Beaver Crane Dolphin Falcon Finch Fox Gecko Hare Heron Ibex Koala Lark Lynx Marten Otter Owl Panda Puffin Robin Seal Stork Tapir Wren".split(" ");
  const pick = (words) => words[crypto.getRandomValues(new Uint32Array(1))[0] % words.length];
  return `${pick(manners)} ${pick(animals)}`;
}

function remembered() {
  try { return localStorage.getItem("name"); } catch { return null; } // a browser may forbid it
}

function remember(name) {
  try { localStorage.setItem("name", name); } catch { /* then we are somebody else next time */ }
}

$("rename").onclick = () => {
  $("name").value = me.name;
  $("dialog").showModal();
  $("name").select();
};
$("dice").onclick = () => { $("name").value = invented(); };
$("cancel").onclick = () => $("dialog").close();
$("name-form").onsubmit = () => {
  const name = tidy($("name").value);
  if (!name || name === me.name) return;
  me.name = name;
  remember(name);
  $("me").textContent = name;
  if (greeted) socket.emit("rename", name); // otherwise the next hello sends it
};
$("dialog").onclose = () => $("text").focus();

// --------------------------------------------------------------------------------------------- connection

socket.on("connect", greet);
socket.on("disconnect", () => {
  greeted = false;
  early = [];
  typists.clear();
  showTyping();
});
socket.on("entry", (raw) => {
  const entry = readEntry(raw);
  if (!entry) return;
  if (greeted) show(entry);
  else if (early.length < MAX_EARLY) early.push(entry);
});
socket.on("present", (raw) => showPresent(readPeople(raw)));

async function greet() {
  const id = socket.id;
  const name = me.name;
  try {
    const welcome = await socket.emitWithAck("hello", { name });
    if (socket.id !== id || greeted) return;
    ids.add(id);
    if (typeof welcome?.id === "string") ids.add(welcome.id);
    if (me.name !== name) socket.emit("rename", me.name); // the name changed while we waited
    else if (tidy(welcome?.name)) $("me").textContent = me.name = tidy(welcome.name);
    greeted = true;
    catchUp(readEntries(welcome?.history));
    showPresent(readPeople(welcome?.present));
    early.splice(0).forEach(show);
    sendOutbox();
    showState();
  } catch {
    setTimeout(() => { if (socket.id === id && !greeted) greet(); }, 1000);
  }
}

/** Shows the messages from before we came, or from while we were away. */
function catchUp(history) {
  $("scroller").ariaBusy = "true"; // keeps a screen reader from reading the whole history aloud
  const { fresh, cut } = timeline.merge(history);
  if (cut === "restarted") log.add(notice("The server was started anew"));
  if (cut === "missed") log.add(notice("Some messages were missed"));
  fresh.forEach(draw);
  setTimeout(() => { $("scroller").ariaBusy = "false"; }, 200);
}

function show(entry) {
  if (timeline.push(entry)) draw(entry);
}

function draw(entry) {
  log.add(entry);
  if (entry.kind === "say") {
    if (ids.has(entry.id)) settle(outbox.find((item) => item.text === entry.text));
    else if (document.hidden) document.title = `(${++unseen}) sio chat`;
  }
  if (entry.kind !== "rename" && typists.delete(entry.id)) showTyping();
}

let unseen = 0;
document.onvisibilitychange = () => {
  if (document.hidden) return;
  unseen = 0;
  document.title = "sio chat";
};

// ------------------------------------------------------------------------------------------------- outbox

const outbox = []; // { text, row, accepted }: written, but not yet seen as an entry
const input = $("text");

$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = input.value.trim().slice(0, MAX_TEXT);
  if (!text) return;
  if (outbox.length >= MAX_OUTBOX) return problem("Too many messages wait for the server already.");
  problem("");
  const row = message({ name: me.name, generation: "4.x", transport: socket.transport ?? "", text, at: Date.now() }, { mine: true, more: true });
  row.classList.add("pending");
  const item = { text, row };
  outbox.push(item);
  $("outbox").append(row);
  input.value = "";
  written();
  stopTyping();
  log.follow(true);
  if (greeted) deliver(item);
};

input.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
};

/** After a reconnection: messages that are in the history have been settled, so all others did not arrive. */
function sendOutbox() {
  for (const item of outbox) if (!item.accepted) deliver(item);
}

async function deliver(item) {
  const id = socket.id;
  try {
    const answer = await socket.emitWithAck("say", item.text);
    if (typeof answer?.error === "string") giveBack(item, answer.error);
    else accept(item);
  } catch {
    if (socket.id === id) giveBack(item, "The server did not answer.");
    // otherwise the connection was lost: keep the message; the history after the next hello shows whether it arrived
  }
}

/** The server has the message. Its row stays until the entry comes, so that nothing flickers, but not for ever. */
function accept(item) {
  item.accepted = true;
  item.row.classList.remove("pending");
  setTimeout(() => settle(item), 1000);
}

function settle(item) {
  const at = outbox.indexOf(item);
  if (at < 0) return;
  outbox.splice(at, 1);
  setTimeout(() => item.row.remove(), 16); // when the log has drawn the entry
}

/** Gives a message that the server refused back to the writer. */
function giveBack(item, reason) {
  settle(item);
  problem(reason.slice(0, 200));
  if (input.value === "") input.value = item.text;
  written();
}

function problem(text) {
  $("problem").textContent = text;
}

// ------------------------------------------------------------------------------------------------- typing

const typists = new Map(); // id => { name, timer }
let typingSince = 0;
let typingTimer = 0;

input.oninput = () => {
  written();
  problem("");
  if (input.value.trim() === "") return stopTyping();
  clearTimeout(typingTimer);
  typingTimer = setTimeout(stopTyping, TYPING_MS - 1000);
  if (!greeted || Date.now() - typingSince < TYPING_MS / 2) return;
  typingSince = Date.now();
  socket.volatile("typing", true);
};

function stopTyping() {
  clearTimeout(typingTimer);
  if (typingSince && greeted) socket.volatile("typing", false);
  typingSince = 0;
}

socket.on("typing", (news) => {
  if (typeof news?.id !== "string" || ids.has(news.id)) return;
  clearTimeout(typists.get(news.id)?.timer);
  typists.delete(news.id);
  if (news.on === true && typists.size < MAX_TYPING) {
    const timer = setTimeout(() => { typists.delete(news.id); showTyping(); }, TYPING_MS);
    typists.set(news.id, { name: tidy(String(news.name)) || "Somebody", timer });
  }
  showTyping();
});

function showTyping() {
  const names = [...typists.values()].map(({ name }) => element("bdi", {}, name));
  const [first, second] = names;
  const say = { 0: () => [], 1: () => [first, " is typing…"], 2: () => [first, " and ", second, " are typing…"] };
  $("typing").replaceChildren(...(say[names.length] ?? (() => [`${names.length} people are typing…`]))());
}

// ------------------------------------------------------------------------------------------------- showing

/** Shows the state of the connection: always in the header, and above the messages while there is no connection. */
function showState() {
  const { state, transport } = socket;
  const returning = ids.size > 0;
  const words = {
    connected: greeted ? transport : "saying hello…",
    connecting: returning ? "reconnecting…" : "connecting…",
    waiting: "reconnecting…",
    closed: "disconnected",
  };
  $("state").dataset.state = greeted ? "connected" : state === "closed" ? "closed" : "connecting";
  if ($("state").textContent !== words[state]) $("state").textContent = words[state];
  document.body.classList.toggle("offline", state !== "connected");
  if (greeted) showPresent(present);
  showAway();
}

let awayTimer = 0;

function showAway() {
  clearTimeout(awayTimer);
  $("away").hidden = socket.state === "connected" || (socket.state === "connecting" && ids.size === 0);
  if ($("away").hidden) return;
  const seconds = Math.max(0, Math.ceil((socket.retryAt - Date.now()) / 1000));
  const words = { waiting: `The server is away. Next try in ${seconds} s.`, connecting: "The server is away. Trying…", closed: "The server has closed the door." };
  $("away-text").textContent = words[socket.state];
  $("retry").hidden = socket.state === "connecting";
  awayTimer = setTimeout(showAway, 250);
}

$("retry").onclick = () => socket.connect();
window.addEventListener("online", () => { if (socket.state === "waiting") socket.connect(); });

let presentTimer = 0;

function showPresent(people) {
  const mine = ({ id }) => ids.has(id);
  present = people.sort((a, b) => mine(b) - mine(a) || a.name.localeCompare(b.name));
  presentTimer ||= setTimeout(drawPresent, 50); // many people who come at one time are drawn once
}

function drawPresent() {
  presentTimer = 0;
  $("people").replaceChildren(...present.map((person) => {
    if (!ids.has(person.id)) return personRow(person, false);
    return personRow({ ...person, transport: socket.transport ?? person.transport }, true); // we know our own transport before the server does
  }));
  $("count").textContent = present.length;
  for (const item of $("spoken").children) {
    const speakers = present.filter(({ generation }) => family(generation) === item.dataset.family).length;
    item.classList.toggle("lit", speakers > 0);
    item.title = speakers === 1 ? "1 person here" : `${speakers} people here`;
  }
}

function showUnread(count) {
  $("jump").hidden = count === 0;
  $("jump").textContent = `${count} new ↓`;
}

$("jump").onclick = () => log.follow(true);

/** Keeps button, counter and height in step with what is written. */
function written() {
  const left = MAX_TEXT - input.value.length;
  $("send").disabled = input.value.trim() === "";
  $("left").hidden = left > 200;
  $("left").textContent = left === 1 ? "1 character left" : `${left} characters left`;
  if (CSS.supports("field-sizing", "content")) return;
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
}

if (matchMedia("(hover: hover)").matches) input.focus(); // on a touch screen the focus would open the keyboard
socket.connect();
