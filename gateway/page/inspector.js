// The drawer that shows frames as they come, with the time since the message that caused them.

const ROWS_MAX = 400;

export class Inspector {
  constructor(list, where) {
    this.list = list;
    this.where = where;
    this.sentAt = new Map();
    this.mids = new Map();
  }

  clear() {
    this.list.replaceChildren();
  }

  /** A message was sent now; later frames of it are timed against this moment. */
  sent(mid) {
    this.sentAt.set(mid, performance.now());
  }

  /** The cursor, as it is stored. */
  at(talk) {
    const open = talk.turn ? ` · turn ${talk.turn.turn.slice(0, 8)} attempt ${talk.turn.attempt} at ${talk.turn.at}` : "";
    this.where.textContent = `${talk.id} · epoch ${talk.epoch ?? "?"} · seq ${talk.seq}${open}`;
  }

  settled(event) {
    if (event.turn && event.mid) this.mids.set(event.turn, event.mid);
  }

  frame(frame) {
    if (frame.t === "ping") return;
    const mid = frame.mid ?? this.mids.get(frame.turn);
    const began = this.sentAt.get(mid);
    const ms = began === undefined ? "" : `${Math.round(performance.now() - began)} ms`;
    const row = document.createElement("li");
    row.className = frame.t === "event" ? "event" : frame.t === "tokens" ? "tokens" : "other";
    row.append(cell("seq", frame.seq ?? ""), cell("what", what(frame)), cell("ms", ms));
    row.title = JSON.stringify(frame, null, 1).slice(0, 2000);
    this.list.append(row);
    while (this.list.children.length > ROWS_MAX) this.list.firstChild.remove();
    this.list.scrollTop = this.list.scrollHeight;
  }
}

function what(frame) {
  switch (frame.t) {
    case "event":
      return frame.type;
    case "tokens":
      return `tokens ${frame.from}–${frame.to}`;
    case "subbed":
      return `subbed, ${frame.resumed ? "resumed" : "from a snapshot"}, head ${frame.head}`;
    case "err":
      return `err ${frame.code}: ${frame.message}`;
    case "bye":
      return `bye ${frame.code}: ${frame.reason}`;
    default:
      return frame.t;
  }
}

function cell(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}
