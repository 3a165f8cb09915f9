/**
 * generations.js: one frame for each genuine client that the server offers.
 *
 *     GET /generations.json -> [{ "generation": "0.6.18", "kind": "0.6", "script": "/clients/0.6.18/socket.io.js" }, …]
 *
 * Each client needs a page of its own, because all of them want the global name `io`; frame.js runs in there.
 * With ?autosay=1 each frame says one greeting by itself.
 */

import { element } from "./room.js";

/** The most frames that are shown; many more would slow down a browser. */
const MAX_FRAMES = 24;

const $ = (id) => document.getElementById(id);
const autosay = new URLSearchParams(location.search).get("autosay") === "1";
let state = "loading"; // then "ready", "empty" or "error"

/** For end-to-end tests: the state of all frames. `frames` has one __chat per frame, null until the frame runs. */
window.__chat = {
  get state() { return state; },
  get frames() { return [...document.querySelectorAll("iframe")].map((frame) => frame.contentWindow?.__chat ?? null); },
  get entries() { return this.frames.find((frame) => frame?.state === "connected")?.entries ?? []; },
  get present() { return this.frames.find((frame) => frame?.present.length)?.present ?? []; },
};

async function look() {
  try {
    const response = await fetch("/generations.json", { cache: "no-store" });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const list = await response.json();
    if (!Array.isArray(list)) throw new Error("not a list");
    show(list.filter((item) => [item?.generation, item?.kind, item?.script].every((field) => typeof field === "string")));
  } catch (error) {
    state = "error";
    $("status").textContent = `The server did not give its list of clients (${error.message}).`;
  }
}

function show(list) {
  state = list.length ? "ready" : "empty";
  $("status").textContent = list.length ? "" : "None found.";
  $("status").hidden = true;
  $("empty").hidden = list.length > 0;
  $("grid").replaceChildren(...list.slice(0, MAX_FRAMES).map(({ generation, kind, script }) => {
    const query = new URLSearchParams({ kind, generation, script, ...(autosay && { autosay: "1" }) });
    return element("iframe", { src: `/frame?${query}`, title: `Socket.IO ${generation}` });
  }));
}

$("again").onclick = look;
$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("command").textContent);
    $("copy").textContent = "Copied";
  } catch { // copying is not allowed here: select the text instead
    getSelection().selectAllChildren($("command"));
  }
};

look();
