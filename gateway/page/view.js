// Draws the messages of a conversation. Text of people and models only ever enters as text.

const OVER = {
  failed: "No answer came.",
  cancelled: "Stopped.",
  refused: "Not answered.",
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
  return kinds.length ? [element("span", "", `🔒 hidden from models and logs: ${kinds.join(", ").toLowerCase()}`)] : [];
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
  for (const [score, sign, name] of [[1, "👍", "Good answer"], [-1, "👎", "Bad answer"]]) {
    const button = element("button", "", sign);
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
