/**
 * room.js: checks what the server sends about the room, and draws it on a page.
 *
 *     Entry   { n, kind: "say" | "join" | "leave" | "rename", id, name, generation, transport, text?, at }
 *     Person  { id, name, generation, transport }
 *
 * `n` counts up, `at` is in milliseconds since 1970; the text of a "rename" is the name before. Both pages of this
 * example, index.html and frame.html, show the same entries, so what they share is here. Names and texts come from
 * strangers: they become text nodes, never markup.
 */

export const MAX_TEXT = 2000;
export const MAX_NAME = 32;
/** The most rows of a log. Older rows are removed, so that the page stays fast however long it is open. */
const MAX_ROWS = 400;
/** The most people in the list; the others are only counted. */
const MAX_PEOPLE = 200;
/** How close to the end counts as "reading the end", in pixels. */
const NEAR_END_PX = 80;
/** One person's messages within this time stand together under one head. */
const GROUP_MS = 5 * 60_000;

// ------------------------------------------------------------------------------------------------ reading

const text = (value, max) => typeof value === "string" ? value.slice(0, max) : "";

/** The person in `value`, or null if there is none. */
export function readPerson(value) {
  if (typeof value?.id !== "string") return null;
  const { id, name, generation, transport } = value;
  return { id, name: text(name, 2 * MAX_NAME) || "somebody", generation: text(generation, 20) || "?", transport: text(transport, 20) };
}

/** The people in `value`, without those that cannot be read. */
export function readPeople(value) {
  return Array.isArray(value) ? value.slice(0, MAX_PEOPLE).map(readPerson).filter(Boolean) : [];
}

/** The entry in `value`, or null if there is none. */
export function readEntry(value) {
  const person = readPerson(value);
  const kinds = ["say", "join", "leave", "rename"];
  if (!person || !Number.isSafeInteger(value.n) || !Number.isFinite(value.at) || !kinds.includes(value.kind)) return null;
  return { n: value.n, kind: value.kind, ...person, text: text(value.text, 2 * MAX_TEXT), at: value.at };
}

/** The entries in `value`, oldest first. */
export function readEntries(value) {
  return Array.isArray(value) ? value.map(readEntry).filter(Boolean).sort((a, b) => a.n - b.n) : [];
}

// ----------------------------------------------------------------------------------------------- timeline

/**
 * Everything that was said, each entry once. After a reconnection the server may send the history that we know, or a
 * longer one. If the server was restarted, it sends another history that counts from the beginning.
 */
export class Timeline {
  /** The most recent entries, oldest first. */
  entries = [];
  #last = null;

  /** Adds one entry. Returns false if it was known. */
  push(entry) {
    if (this.#last && entry.n <= this.#last.n) return false;
    this.#last = entry;
    this.entries.push(entry);
    if (this.entries.length > MAX_ROWS) this.entries.shift();
    return true;
  }

  /** Compares a server's history with what we know: { fresh: entries we lack, cut: null | "missed" | "restarted" }. */
  merge(history) {
    const last = this.#last;
    const same = last && history.find((entry) => entry.n === last.n);
    let cut = null;
    if (last && !(same && same.id === last.id && same.at === last.at)) {
      const first = history[0];
      const later = !same && first && first.n > last.n && first.at >= last.at;
      if (!later) cut = "restarted";
      else if (first.n > last.n + 1) cut = "missed";
    }
    if (cut === "restarted") this.#last = null;
    return { fresh: history.filter((entry) => this.push(entry)), cut };
  }
}

// ---------------------------------------------------------------------------------------------- elements

/** element("p", { className: "x", dataset: { y: "z" } }, "text", child, …) */
export function element(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, dataset);
  node.append(...children);
  return node;
}

/** Which of the six families a generation belongs to, which decides the colour: "0.6.18" is "0.6", "0.8" is "0.9", "3.x–4.x" is "4". */
export function family(generation) {
  const [major, minor] = generation.split(/[^\d.x]+/).at(-1).split(".");
  if (major === "0") return Number(minor) <= 6 ? "0.6" : "0.9";
  return ["1", "2", "3", "4"].includes(major) ? major : "?";
}

/** "4.x · websocket", in the colour of the generation. */
export function badge({ generation, transport }) {
  return element("span", { className: "badge", dataset: { family: family(generation) } },
    element("b", {}, generation), transport && ` · ${transport}`);
}

/** A name, isolated from the text around it, so that right-to-left names do not disturb the line. */
const who = (name) => element("bdi", { className: "who" }, name);

function avatar({ name, generation }) {
  const [version] = /\d+\.\d+/.exec(name) ?? []; // the frames of generations.html have the version in their name
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  const initials = version ?? words.slice(0, 2).map((word) => [...word][0]).join("").toUpperCase();
  return element("span", { className: "avatar", ariaHidden: "true", dataset: { family: family(generation) } }, initials);
}

const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

function time(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  return element("time", { dateTime: date.toISOString(), title: full.format(date) }, hour.format(date));
}

/** A quiet line in the log. */
export function notice(...children) {
  return element("li", { className: "notice" }, ...children);
}

/** A message. `mine` puts it on the other side. `more` leaves out the head, because the message above has the same. */
export function message(entry, { mine = false, more = false } = {}) {
  const row = element("li", { className: "say", dataset: { family: family(entry.generation) } });
  row.classList.toggle("mine", mine);
  row.classList.toggle("more", more);
  row.append(avatar(entry), element("div", { className: "bubble" },
    element("p", { className: "by" }, who(entry.name), badge(entry), time(entry.at)),
    element("p", { className: "text", dir: "auto" }, entry.text)));
  return row;
}

/** One person of the list. */
export function personRow(person, mine) {
  return element("li", { className: "person" }, avatar(person),
    element("span", { className: "name" }, who(person.name), mine ? element("i", {}, " you") : ""), badge(person));
}

function entryRow(entry, previous, isMine) {
  if (entry.kind === "say") {
    const more = previous?.kind === "say" && previous.id === entry.id && previous.name === entry.name
      && previous.transport === entry.transport && entry.at - previous.at < GROUP_MS;
    return message(entry, { mine: isMine(entry.id), more });
  }
  if (entry.kind === "join") return notice(who(entry.name), " joined ", badge(entry));
  if (entry.kind === "leave") return notice(who(entry.name), " left");
  return entry.text ? notice(who(entry.text), " is now ", who(entry.name)) : notice("Somebody is now ", who(entry.name));
}

// --------------------------------------------------------------------------------------------------- log

/**
 * The scrolling list of entries. It follows the end while the reader is at the end, and does not move otherwise. It
 * draws once per frame, however much arrives. It keeps at most MAX_ROWS rows.
 */
export class Log {
  #scroller;
  #list;
  #isMine;
  #onunread;
  #waiting = []; // rows, or entries still to be drawn
  #previous = null;
  #following = true;
  #unread = 0;
  #timer = 0;

  /** `isMine(id)` says whether a message is our own; `onunread(count)` is called with the number of new rows below the visible part. */
  constructor(scroller, list, { isMine = () => false, onunread = () => {} } = {}) {
    this.#scroller = scroller;
    this.#list = list;
    this.#isMine = isMine;
    this.#onunread = onunread;
    scroller.addEventListener("scroll", () => {
      this.#following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
      if (this.#following) this.#read();
    }, { passive: true });
    const resized = new ResizeObserver(() => this.follow());
    for (const node of [scroller, ...scroller.children]) resized.observe(node);
  }

  /** Adds an entry, or a row that is not an entry. */
  add(item) {
    this.#waiting.push(item);
    if (this.#waiting.length > MAX_ROWS) this.#waiting.shift();
    this.#timer ||= setTimeout(() => this.#draw(), 16); // not an animation frame: a hidden page gets none
  }

  clear() {
    this.#waiting = [];
    this.#previous = null;
    this.#list.replaceChildren();
  }

  /** Scrolls to the end, if the reader was at the end, or if `always` is set. */
  follow(always = false) {
    if (!this.#following && !always) return;
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#read();
  }

  #draw() {
    this.#timer = 0;
    const rows = document.createDocumentFragment();
    let unread = 0;
    for (const item of this.#waiting.splice(0)) {
      const isRow = item instanceof Node;
      rows.append(isRow ? item : entryRow(item, this.#previous, this.#isMine));
      this.#previous = isRow ? null : item;
      if (item.kind === "say") unread += 1;
    }
    this.#list.append(rows);
    this.#trim();
    if (this.#following) return this.follow();
    this.#unread += unread;
    this.#onunread(this.#unread);
  }

  /** Removes the oldest rows. The rows that the reader sees stay where they are. */
  #trim() {
    const excess = this.#list.children.length - MAX_ROWS;
    if (excess <= 0) return;
    const height = () => this.#following ? 0 : this.#scroller.scrollHeight; // measuring costs a layout, so only if it is needed
    const before = height();
    for (let i = 0; i < excess; i += 1) this.#list.firstElementChild.remove();
    this.#list.firstElementChild.classList.remove("more"); // its head was in the row above, which is gone
    const lost = before - height();
    if (lost) this.#scroller.scrollTop -= lost;
  }

  #read() {
    if (this.#unread === 0) return;
    this.#unread = 0;
    this.#onunread(0);
  }
}
