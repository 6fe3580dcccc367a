// What one conversation looks like, as plain data that fits into localStorage. No DOM, no socket.
//
// Frames may come twice or overlap; `apply` uses each once and answers "gap" when one is missing.

const STARTS = new Set(["TurnStarted", "TurnRestarted"]);
const ENDS = new Set(["TurnCompleted", "TurnFailed", "TurnCancelled"]);
const MESSAGES_MAX = 200;

export function newTalk(id) {
  return { id, epoch: null, seq: 0, turn: null, over: null, messages: [], unsent: [] };
}

/** A ULID: 48 bits of milliseconds and 80 random bits, so ids sort by time. */
export function newId() {
  const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let time = Date.now();
  let id = "";
  for (let i = 0; i < 10; i += 1) {
    id = letters[time % 32] + id;
    time = Math.floor(time / 32);
  }
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) id += letters[byte % 32];
  return id;
}

/** The fields of a `sub` that resume where this talk stands. */
export function position(talk) {
  const at = { c: talk.id, seq: talk.seq };
  if (talk.epoch !== null) at.epoch = talk.epoch;
  if (talk.turn) Object.assign(at, { turn: talk.turn.turn, attempt: talk.turn.attempt, at: talk.turn.at });
  return at;
}

/** Uses a frame; "applied", "old" or "gap". */
export function apply(talk, frame) {
  if (frame.t === "snapshot") return snapshot(talk, frame);
  if (frame.t === "tokens") return tokens(talk, frame);
  if (frame.t === "subbed") {
    if (frame.resumed) talk.epoch = frame.epoch;
    return "applied";
  }
  // A newer gateway may have kinds that mean nothing here, and no seq in them.
  if (frame.t !== "event" || frame.seq <= talk.seq) return "old";
  if (frame.seq !== talk.seq + 1) return "gap";
  talk.seq = frame.seq;
  event(talk, frame);
  if (talk.messages.length > MESSAGES_MAX) talk.messages.splice(0, talk.messages.length - MESSAGES_MAX);
  return "applied";
}

export function say(talk, mid, text) {
  talk.messages.push({ who: "customer", mid, text, own: true, waiting: true });
}

function event(talk, frame) {
  const { type, data, mid, turn } = frame;
  if (STARTS.has(type)) {
    talk.turn = { turn, attempt: data.attempt ?? 1, at: 0, text: "", mid: mid ?? talk.turn?.mid };
  }
  switch (type) {
    case "MessageReceived": {
      const mine = question(talk, mid);
      if (mine) mine.waiting = false;
      else talk.messages.push({ who: "customer", mid, seq: frame.seq });
      break;
    }
    case "MessageAnalysed": {
      const asked = question(talk, mid);
      if (asked) {
        asked.kinds = data.kinds;
        asked.labels = data.labels;
        if (!asked.own) asked.text = data.text;
      }
      break;
    }
    case "TurnCompleted":
      talk.messages.push({ who: "assistant", mid, turn, seq: frame.seq, ...data });
      break;
    case "TurnFailed":
    case "TurnCancelled":
    case "TurnRefused":
      talk.messages.push({
        who: "assistant", mid, turn, seq: frame.seq, ...data,
        outcome: type.slice(4).toLowerCase(), partial: talk.turn?.turn === turn ? talk.turn.text : "",
      });
      break;
    case "FeedbackReceived": {
      const rated = talk.messages.find((m) => m.who === "assistant" && m.turn === turn);
      if (rated) rated.feedback = { score: data.score };
      break;
    }
    case "ConversationClosed":
      talk.closed = true;
      break;
    case "CommandRejected": {
      const refused = question(talk, mid);
      if (refused) Object.assign(refused, { waiting: false, refused: data.message });
      break;
    }
    default:
  }
  if (ENDS.has(type)) {
    talk.turn = null;
    talk.over = turn;
  }
}

function tokens(talk, frame) {
  if (frame.turn === talk.over) return "old";
  let open = talk.turn;
  if (!open || open.turn !== frame.turn || frame.attempt > open.attempt) {
    if (frame.from !== 0) return "gap";
    open = { turn: frame.turn, attempt: frame.attempt, at: 0, text: "", mid: open?.mid };
    talk.turn = open;
  }
  if (frame.attempt < open.attempt || frame.to <= open.at) return "old";
  if (frame.from > open.at) return "gap";
  // Positions count code points, and JavaScript's strings count UTF-16.
  open.text += [...frame.text].slice(open.at - frame.from).join("");
  open.at = frame.to;
  return "applied";
}

function snapshot(talk, frame) {
  const own = new Map(talk.messages.filter((m) => m.own).map((m) => [m.mid, m]));
  const { state } = frame;
  const known = (state.messages ?? []).map((m) => {
    const mine = m.who === "customer" ? own.get(m.mid) : undefined;
    own.delete(m.mid);
    return mine ? { ...m, text: mine.text, own: true } : m;
  });
  const waiting = [...own.values()].filter((m) => m.waiting);
  Object.assign(talk, {
    epoch: frame.epoch,
    seq: frame.seq,
    over: null,
    closed: state.status === "closed",
    messages: [...known, ...waiting],
    turn: state.turn
      ? { turn: state.turn.turn, attempt: state.turn.attempt ?? 1, at: state.turn.at ?? 0, text: state.turn.text ?? "", mid: state.turn.mid }
      : null,
  });
  return "applied";
}

function question(talk, mid) {
  return talk.messages.find((m) => m.who === "customer" && m.mid === mid);
}
