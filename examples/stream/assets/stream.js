/**
 * stream.js: follows one answer, the one that the address names (#answer-…), through reloads and lost connections.
 *
 *     to the server    ask () -> room    follow (room, place or null) -> { missed, truncated, at }
 *     from the server  token (text, place)    done (place)    history ({ room, state, at })
 *
 * What the page has seen is in `sessionStorage`: the text, and the place of its last event. So after a reload it asks only for what is
 * missing. Another device has nothing, and asks for everything.
 */

import { Socket } from "/assets/sio.js";

const $ = (id) => document.getElementById(id);
const room = () => location.hash.slice(1);

const socket = new Socket();
let seen = load();
show();

socket.on("connect", follow);
socket.on("disconnect", () => say("waiting", "the connection is lost"));
socket.on("token", (token, place) => keep({ text: seen.text + token, place, done: false }));
socket.on("done", (place) => keep({ ...seen, place, done: true }));
socket.on("history", (mark) => {
  // Something is missing that this page has not seen, so it begins again.
  const text = mark.state === "truncated" ? "" : seen.text;
  keep({ ...seen, text, place: mark.at });
});

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  // A second click before the answer to the first would begin a second answer, and the page would show both at once. A server that writes
  // too many answers already says nothing.
  $("go").disabled = true;
  setTimeout(() => { $("go").disabled = false; }, 5_000);
  location.hash = await socket.emitWithAck("ask");
  seen = load();
  follow();
});

function follow() {
  if (!room() || !socket.connected) return;
  say("writing", "being written");
  socket.emit("follow", room(), seen.place);
}

function load() {
  const kept = sessionStorage.getItem(room());
  return kept ? JSON.parse(kept) : { text: "", place: null, done: false };
}

function keep(now) {
  seen = now;
  sessionStorage.setItem(room(), JSON.stringify(seen));
  show();
}

function show() {
  $("answer").textContent = seen.text;
  if (seen.done) say("done", "complete");
}

function say(state, words) {
  $("state").dataset.state = seen.done ? "done" : state;
  $("state").textContent = seen.done ? "complete" : words;
}
