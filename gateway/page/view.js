// Draws the messages of a conversation. Text of people and models only ever enters as text.

const OVER = {
  failed: "No answer came.",
  cancelled: "Stopped.",
  refused: "Not answered.",
};

// Drawn here, since not every machine has a font with such signs.
const SHAPES = {
  up: "M7 10v10H4V10zm0 0 4-7c1.6 0 2.4 1 2.2 2.5L12.8 9H19c1.2 0 1.9 1 1.6 2.2l-1.7 7c-.2 1-1 1.8-2.1 1.8H7",
  down: "M17 14V4h3v10zm0 0-4 7c-1.6 0-2.4-1-2.2-2.5l.4-3.5H5c-1.2 0-1.9-1-1.6-2.2l1.7-7C5.3 4.8 6.1 4 7.2 4H17",
  lock: "M6 11h12v9H6zm2.5 0V8a3.5 3.5 0 0 1 7 0v3",
};

/** Brings the list in line with the talk; `act.rate(message, score)` sends feedback. */
export function drawMessages(list, talk, act) {
  const stays = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const shown = talk.messages.map((message, index) => ({ key: `${message.who}-${message.turn ?? message.mid ?? index}`, message }));
  if (talk.turn) shown.push({ key: `assistant-${talk.turn.turn}`, message: { who: "assistant", turn: talk.turn.turn, text: talk.turn.text, streaming: true } });
  const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = shown.map(({ key, message }) => {
    const item = old.get(key) ?? make(key);
    old.delete(key);
    fill(item, message, act);
    return item;
  });
  for (const gone of old.values()) gone.remove();
  items.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  if (stays) list.scrollTop = list.scrollHeight;
}

function make(key) {
  const item = element("li", "message");
  item.dataset.key = key;
  item.append(element("div", "bubble"), element("div", "under"));
  return item;
}

function fill(item, message, act) {
  const flags = [message.who, message.waiting && "waiting", message.streaming && "streaming", message.outcome && "over"];
  const classes = ["message", ...flags].filter(Boolean).join(" ");
  if (item.className !== classes) item.className = classes;
  const [bubble, under] = item.children;
  const text = shownText(message);
  if (bubble.textContent !== text) bubble.textContent = text;
  const parts = message.who === "customer" ? aboutQuestion(message) : aboutAnswer(message, act);
  const mark = JSON.stringify([message.kinds, message.refused, message.waiting, message.citations, message.feedback, message.declined, message.degraded, message.streaming]);
  if (under.dataset.mark !== mark) {
    under.dataset.mark = mark;
    under.replaceChildren(...parts);
  }
}

function shownText(message) {
  if (message.who === "customer") return message.text ?? "…";
  if (message.outcome) return [message.partial, message.message ?? OVER[message.outcome]].filter(Boolean).join("\n");
  return message.text || "";
}

function aboutQuestion(message) {
  if (message.refused) return [element("span", "", `Not accepted: ${message.refused}`)];
  if (message.waiting) return [element("span", "", "sending…")];
  const kinds = [...new Set(message.kinds ?? [])];
  if (!kinds.length) return [];
  return [icon("lock"), element("span", "", `kept from models and analysts: ${kinds.join(", ").toLowerCase()}`)];
}

function aboutAnswer(message, act) {
  if (message.streaming || message.outcome) return [];
  const parts = (message.citations ?? []).map((citation) => {
    const chip = element("span", "cite");
    chip.append(element("b", "", `[${citation.marker}] `), citation.title ?? citation.document);
    chip.title = `${citation.document}, passage ${citation.passage}`;
    return chip;
  });
  if (message.degraded?.length) parts.push(element("span", "", `simplified: ${message.degraded.join(", ")}`));
  for (const [score, sign, name] of [[1, "up", "Good answer"], [-1, "down", "Bad answer"]]) {
    const button = element("button", "rate");
    button.append(icon(sign));
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-label", name);
    button.setAttribute("aria-pressed", String(message.feedback?.score === score));
    button.onclick = () => act.rate(message, score);
    parts.push(button);
  }
  return parts;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}
