// The page of the cluster chat: it connects to the server that it was loaded from.

import { Socket } from "./sio.js";

const at = (id) => document.getElementById(id);
const [log, present, nameForm, sayForm] = ["log", "present", "name", "say"].map(at);
const socket = new Socket();
let name = null;

function note(kind, text, node) {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = text;
  if (node !== undefined) {
    const mark = document.createElement("span");
    mark.className = "node";
    mark.textContent = `server ${node}`;
    line.append(mark);
  }
  log.append(line);
  while (log.children.length > 500) log.firstChild.remove();
  log.scrollTop = log.scrollHeight;
}

function show(people) {
  present.textContent = people.map(({ name: who, node }) => `${who} (server ${node})`).join(", ");
}

async function enter() {
  const [node, people] = await socket.emitWithAck("hello", name);
  at("node").textContent = node;
  show(people);
}

const look = async () => {
  if (name !== null) show(await socket.emitWithAck("who"));
};

socket.on("connect", () => { if (name !== null) enter(); });
socket.on("disconnect", (reason) => note("news", `The connection is lost (${reason}).`));
socket.on("said", (who, node, text) => note("said", `${who}: ${text}`, node));
socket.on("came", (who, node) => { note("news", `${who} has come.`, node); look(); });
socket.on("went", (who, node) => { note("news", `${who} has gone.`, node); look(); });

nameForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  name = nameForm.elements.text.value.trim();
  if (!name) return;
  await enter();
  nameForm.hidden = true;
  sayForm.hidden = false;
  sayForm.elements.text.focus();
});

sayForm.addEventListener("submit", (event) => {
  event.preventDefault();
  socket.emit("say", sayForm.elements.text.value);
  sayForm.reset();
});
