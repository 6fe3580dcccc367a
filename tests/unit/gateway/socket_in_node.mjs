// Takes the chat page's own socket through days of a line, with a clock and a network that stand
// still between steps. Days come in as JSON, lists of steps; what the page did on each goes out.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

let timers = [];
let sockets = [];
let now = 0;

globalThis.addEventListener = () => {};
globalThis.document = { addEventListener() {}, hidden: false };
globalThis.setTimeout = (fire, ms) => timers[timers.push({ fire, at: now + ms }) - 1];
globalThis.clearTimeout = (timer) => (timers = timers.filter((each) => each !== timer));
globalThis.WebSocket = class {
  static OPEN = 1;
  constructor(url, protocols) {
    Object.assign(this, { protocols, readyState: 0, sent: [] });
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 2;
  }
};

const { Socket } = await import(pathToFileURL(process.argv[2]));

/** Lets everything happen that waits for nothing but the next turn of the loop. */
const settled = () => new Promise((done) => setImmediate(done));

async function live(steps) {
  [timers, sockets, now] = [[], [], 0];
  const told = { states: [], frames: [], opened: 0 };
  const tokens = [];
  const getToken = () => new Promise((give, refuse) => tokens.push({ give, refuse }));
  const on = {
    open: () => (told.opened += 1),
    frame: (frame) => told.frames.push(frame.t),
    state: (state, more) => told.states.push(more === undefined ? state : [state, more]),
  };
  const socket = new Socket("ws://x", getToken, on);
  const does = {
    token: (token) => tokens.shift().give(token),
    "no token": () => tokens.shift().refuse(new Error("none")),
    open() {
      const ws = sockets.at(-1);
      ws.readyState = 1;
      ws.onopen();
    },
    frame: (frame) => sockets.at(-1).onmessage({ data: JSON.stringify(frame) }),
    close: (code) => sockets.at(-1).onclose({ code, reason: "" }),
    cut: () => socket.cut(),
    stop: () => socket.stop(),
    online: () => socket.hurry(),
    after(ms) {
      now += ms;
      const due = timers.filter((timer) => timer.at <= now);
      timers = timers.filter((timer) => timer.at > now);
      for (const timer of due) timer.fire();
    },
  };
  for (const step of steps) {
    const [what, how] = [].concat(step);
    does[what](how);
    await settled();
  }
  const sent = sockets.map((ws) => ws.sent);
  const dropped = sockets.map((ws) => ws.readyState === 2);
  return { ...told, sent, dropped, asked: tokens.length, timers: timers.map((timer) => timer.at - now) };
}

const told = [];
for (const steps of JSON.parse(readFileSync(0, "utf8"))) told.push(await live(steps));
process.stdout.write(JSON.stringify(told));
