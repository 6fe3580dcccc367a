// The page: keeps one conversation per tenant in localStorage, draws it, and talks through a socket.

import { Inspector } from "./inspector.js";
import { Socket } from "./socket.js";
import { apply, newId, newTalk, position, say } from "./talk.js";
import { drawMessages } from "./view.js";

const TENANTS = {
  demo: ["You are a customer of a bank.", "My new card still has not arrived", "How do I change my PIN?", "Can I get a second card for my account?"],
  harvest: ["You are a customer of a grocer.", "When can my groceries be delivered?", "What happens when an item is out of stock?"],
};
const EXPIRED = 4401;
const $ = (id) => document.getElementById(id);
const stored = (key) => JSON.parse(localStorage.getItem(key) ?? "null");
const store = (key, value) => localStorage.setItem(key, JSON.stringify(value));

let tenant = localStorage.getItem("parley:tenant") ?? "demo";
let sub = localStorage.getItem("parley:sub");
if (!sub) localStorage.setItem("parley:sub", (sub = `guest-${newId().slice(-8).toLowerCase()}`));
let talk;
let socket;
let behind = false;
let saving = null;
let drawing = false;
const inspector = new Inspector($("frames"), $("where"));

const key = () => `parley:talk:${tenant}:${sub}`;

function save() {
  saving = null;
  store(key(), talk);
}

function changed() {
  saving ??= setTimeout(save, 60);
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(draw);
  }
}

function draw() {
  drawing = false;
  drawMessages($("messages"), talk, { rate });
  $("welcome").hidden = talk.messages.length > 0;
  $("stop").hidden = !talk.turn;
  $("send").disabled = Boolean(talk.closed);
  inspector.at(talk);
}

async function getToken() {
  const pasted = sessionStorage.getItem("parley:token");
  if (pasted) return pasted;
  const response = await fetch("/dev/token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ tenant, sub }),
  });
  if (response.ok) return (await response.json()).token;
  if (response.status < 500) return askForToken();
  throw new Error("no token now");
}

function askForToken() {
  return new Promise((resolve) => {
    const dialog = $("ask");
    dialog.onclose = () => {
      const token = $("token").value.trim();
      sessionStorage.setItem("parley:token", token);
      resolve(token);
    };
    dialog.showModal();
  });
}

function subscribe() {
  socket.send({ t: "sub", id: socket.nextId(), ...position(talk) });
}

function command(frame) {
  talk.unsent.push({ ...frame, c: talk.id });
  save();
  flush(talk.unsent.at(-1));
}

function flush(frame) {
  if (socket.ready) {
    frame.id = socket.nextId();
    socket.send(frame);
  }
}

const on = {
  open() {
    subscribe();
    talk.unsent.forEach(flush);
  },
  frame(frame) {
    inspector.frame(frame);
    if (frame.t === "bye" && frame.code === EXPIRED) sessionStorage.removeItem("parley:token");
    if (frame.t === "ok") {
      talk.unsent = talk.unsent.filter((held) => held.id !== frame.id);
      changed();
    } else if (frame.t === "err") {
      refused(frame);
    } else if (frame.c === talk.id) {
      take(frame);
    }
  },
  state(state, more) {
    const link = $("link");
    link.dataset.state = state;
    const seconds = Math.ceil((more || 0) / 1000);
    link.textContent = { live: "live", connecting: "connecting", ended: "closed", waiting: `reconnecting in ${seconds} s` }[state];
    if (state === "ended") tell(more);
    else if (state === "live") tell("");
  },
};

function take(frame) {
  if (frame.t === "subbed") behind = false;
  else if (behind) return;
  if (apply(talk, frame) === "gap") {
    behind = true;
    subscribe();
    return;
  }
  if (frame.t === "event") inspector.settled(frame);
  changed();
}

function refused(frame) {
  const held = talk.unsent.find((each) => each.id === frame.id);
  if (frame.temporary) {
    const waitMs = frame.retry_after_ms ?? 1000;
    if (held) setTimeout(() => flush(held), waitMs);
    else if (frame.c === talk.id) setTimeout(subscribe, waitMs);
    return;
  }
  if (held) {
    talk.unsent = talk.unsent.filter((each) => each !== held);
    const message = talk.messages.find((each) => each.mid === held.mid);
    if (message) Object.assign(message, { waiting: false, refused: frame.message });
    changed();
  }
  tell(frame.message);
}

function rate(message, score) {
  message.feedback = { score };
  command({ t: "feedback", mid: newId(), turn: message.turn, score });
  changed();
}

function tell(sentence) {
  $("note").textContent = sentence || "";
  $("note").hidden = !sentence;
}

function open(fresh) {
  socket?.stop();
  talk = (!fresh && stored(key())) || newTalk(newId());
  behind = false;
  inspector.clear();
  tell("");
  welcome();
  save();
  const url = new URL("/v1/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new Socket(url, getToken, on);
  draw();
}

function welcome() {
  const [who, ...questions] = TENANTS[tenant] ?? [`You are a customer of ${tenant}.`];
  $("who").textContent = `${who} Answers stream in, and survive a reload in the middle.`;
  $("questions").replaceChildren(
    ...questions.map((question) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = question;
      button.onclick = () => ask(question);
      return button;
    }),
  );
}

function submit() {
  const text = $("text").value.trim();
  if (!text || talk.closed) return;
  $("text").value = "";
  grow();
  ask(text);
}

function ask(text) {
  const mid = newId();
  say(talk, mid, text);
  inspector.sent(mid);
  command({ t: "send", mid, body: { text } });
  changed();
  requestAnimationFrame(() => $("messages").scrollTo({ top: 1e9 }));
}

function grow() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

for (const name of new Set([...Object.keys(TENANTS), tenant])) $("tenant").add(new Option(name, name, false, name === tenant));
$("tenant").onchange = () => {
  tenant = $("tenant").value;
  localStorage.setItem("parley:tenant", tenant);
  open(false);
};
$("composer").onsubmit = (submitted) => {
  submitted.preventDefault();
  submit();
};
$("text").oninput = grow;
$("text").onkeydown = (pressed) => {
  if (pressed.key === "Enter" && !pressed.shiftKey && !pressed.isComposing) {
    pressed.preventDefault();
    submit();
  }
};
$("stop").onclick = () => talk.turn && command({ t: "cancel", mid: newId(), turn: talk.turn.turn });
$("fresh").onclick = () => open(true);
$("cut").onclick = () => socket.cut();
function showInspector(show) {
  $("inspector").hidden = !show;
  $("inspect").setAttribute("aria-expanded", String(show));
  if (show) inspector.showLatest();
}
$("inspect").onclick = () => showInspector($("inspector").hidden);
$("hide").onclick = () => showInspector(false);
addEventListener("pagehide", save);

open(false);
