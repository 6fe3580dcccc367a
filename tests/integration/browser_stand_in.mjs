// Just enough of a browser to run the chat page under node: elements as plain trees, a storage in
// a folder that outlives the process, and node's own WebSocket and fetch.
//
// Started with the page's folder, the storage's folder and the page's address. Each line of input
// is one thing that a person does, as JSON; each is answered by what is to be seen then.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, storage, href] = process.argv.slice(2);

class Element {
  constructor() {
    Object.assign(this, { children: [], dataset: {}, style: {}, value: "", className: "", own: "", parent: null });
    Object.assign(this, { scrollHeight: 0, scrollTop: 0, clientHeight: 0, hidden: false });
  }
  get textContent() {
    return this.own + this.children.map((child) => child.textContent).join("");
  }
  set textContent(text) {
    this.children = [];
    this.own = text;
  }
  get firstChild() {
    return this.children[0];
  }
  append(...nodes) {
    for (const node of nodes) this.insertBefore(typeof node === "string" ? textOf(node) : node, null);
  }
  add(node) {
    this.append(node);
  }
  insertBefore(node, before) {
    node.remove();
    node.parent = this;
    this.children.splice(before ? this.children.indexOf(before) : this.children.length, 0, node);
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
  replaceChildren(...nodes) {
    this.children = [];
    this.append(...nodes);
  }
  setAttribute() {}
  scrollTo() {}
}

function textOf(text) {
  return Object.assign(new Element(), { own: text });
}

/** Values by name, kept in a file if one is given. */
function store(path) {
  const held = new Map(path && existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : []);
  const keep = () => path && writeFileSync(path, JSON.stringify([...held]));
  return {
    getItem: (key) => held.get(key) ?? null,
    setItem: (key, value) => { held.set(key, String(value)); keep(); },
    removeItem: (key) => { held.delete(key); keep(); },
  };
}

const elements = new Map();
const listeners = new Map();
const $ = (id) => elements.get(id) ?? elements.set(id, new Element()).get(id);
const listen = (type, heard) => listeners.set(type, [...(listeners.get(type) ?? []), heard]);
const given = {
  document: {
    hidden: false, getElementById: $, addEventListener: listen,
    createElement: () => new Element(), createElementNS: () => new Element(),
  },
  location: { href },
  localStorage: store(join(storage, "local.json")),
  sessionStorage: store(join(storage, "session.json")),
  addEventListener: listen,
  requestAnimationFrame: (draw) => setTimeout(draw, 0),
  Option: class extends Element {},
  fetch: (path, options) => fetchAt(new URL(path, href), options),
};
const fetchAt = fetch;
for (const [name, value] of Object.entries(given)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

const person = {
  look() {},
  say({ text }) {
    $("text").value = text;
    $("composer").onsubmit({ preventDefault() {} });
  },
  press({ id }) {
    $(id).onclick();
  },
  leave() {
    for (const heard of listeners.get("pagehide")) heard();
    setImmediate(() => process.exit(0));
  },
};

function seen() {
  const stored = JSON.parse(given.localStorage.getItem(`parley:talk:demo:${given.localStorage.getItem("parley:sub")}`));
  return {
    link: $("link").dataset.state,
    note: $("note").hidden ? "" : $("note").textContent,
    sub: given.localStorage.getItem("parley:sub"),
    messages: $("messages").children.map((item) => item.children[0].textContent),
    streaming: $("messages").children.some((item) => item.className.includes("streaming")),
    frames: $("frames").children.map((row) => row.children[1].textContent),
    stored,
  };
}

await import(pathToFileURL(join(folder, "chat.js")));
for await (const line of createInterface({ input: process.stdin })) {
  const does = JSON.parse(line);
  person[does.do](does);
  process.stdout.write(`${JSON.stringify(seen())}\n`);
}
