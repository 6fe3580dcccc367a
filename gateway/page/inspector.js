// The drawer that shows frames as they come, with the time since the message that caused them.

const ROWS_MAX = 400;

export class Inspector {
  constructor(list, where) {
    this.list = list;
    this.where = where;
    this.sentAt = new Map();
    this.mids = new Map();
    this.stretch = null;
  }

  clear() {
    this.list.replaceChildren();
    this.stretch = null;
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
    if (frame.t !== "tokens") this.stretch = null;
    else if (this.goesOn(frame)) return this.lengthen(frame, ms);
    else this.stretch = { turn: frame.turn, attempt: frame.attempt, from: frame.from, frames: 1 };
    const row = document.createElement("li");
    row.className = frame.t === "event" ? "event" : frame.t === "tokens" ? "tokens" : "other";
    row.append(cell("seq", frame.seq ?? ""), cell("what", what(frame)), cell("ms", ms));
    row.title = JSON.stringify(frame, null, 1).slice(0, 2000);
    if (this.stretch) this.stretch.row = row;
    this.list.append(row);
    while (this.list.children.length > ROWS_MAX) this.list.firstChild.remove();
    this.showLatest();
  }

  /** Also for when the drawer opens: what is hidden cannot be scrolled. */
  showLatest() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** Whether a frame only lengthens the text that the last row tells of. */
  goesOn(frame) {
    return this.stretch?.turn === frame.turn && this.stretch.attempt === frame.attempt;
  }

  lengthen(frame, ms) {
    const { row, from } = this.stretch;
    this.stretch.frames += 1;
    const [, text, time] = row.children;
    text.textContent = `tokens ${from}–${frame.to} in ${this.stretch.frames} frames`;
    time.textContent = ms;
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
