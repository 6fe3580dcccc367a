// One WebSocket to the gateway that comes back by itself. Knows frames, not conversations.

const BACKOFF_MS = 200;
const BACKOFF_MS_MAX = 10000;

export class Socket {
  /** `getToken` is asked before every connection; `on` holds open, frame and state callbacks. */
  constructor(url, getToken, on) {
    this.url = url;
    this.getToken = getToken;
    this.on = on;
    this.failures = 0;
    this.ids = 0;
    this.ready = false;
    this.stopped = false;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.connect();
  }

  async connect() {
    clearTimeout(this.timer);
    this.timer = null;
    this.on.state("connecting");
    let token;
    try {
      token = await this.getToken();
    } catch {
      this.later(0);
      return;
    }
    // While the token was fetched, the line may have been cut or given up.
    if (this.stopped || this.timer) return;
    const ws = new WebSocket(this.url, ["chat.v1"]);
    this.ws = ws;
    let afterMs = 0;
    let reason = "";
    ws.onopen = () => ws.send(JSON.stringify({ t: "hello", v: 1, token }));
    ws.onmessage = (message) => {
      this.heard();
      const frame = JSON.parse(message.data);
      if (frame.t === "welcome") {
        this.ready = true;
        this.failures = 0;
        this.silenceMs = frame.ping_ms * 2.5;
        this.on.state("live");
        this.on.open();
      } else if (frame.t === "ping") {
        this.send({ t: "pong" });
      } else if (frame.t === "auth_due") {
        this.getToken().then((fresh) => this.send({ t: "auth", id: this.nextId(), token: fresh }), () => {});
      } else if (frame.t === "bye") {
        afterMs = frame.after_ms ?? 0;
        reason = frame.reason;
      }
      this.on.frame(frame);
    };
    ws.onclose = (closed) => {
      if (this.ws !== ws) return;
      this.ready = false;
      clearTimeout(this.silence);
      // The code is the verdict: 45xx must not come back.
      if (closed.code >= 4500 && closed.code < 4600) {
        this.on.state("ended", reason || closed.reason);
      } else {
        this.later(afterMs);
      }
    };
  }

  later(afterMs) {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.failures += 1;
    // Full jitter: clients that were cut off together must not come back together.
    const most = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** this.failures);
    const waitMs = Math.max(afterMs, Math.random() * most);
    this.on.state("waiting", waitMs);
    this.timer = setTimeout(() => this.connect(), waitMs);
  }

  hurry() {
    if (this.timer) this.connect();
  }

  heard() {
    clearTimeout(this.silence);
    if (this.silenceMs) this.silence = setTimeout(() => this.cut(), this.silenceMs);
  }

  nextId() {
    this.ids += 1;
    return this.ids;
  }

  send(frame) {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(frame));
  }

  /** Drops the connection at once and comes back. */
  cut() {
    const { ws } = this;
    this.ws = null;
    this.ready = false;
    clearTimeout(this.silence);
    ws?.close();
    this.later(0);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = null;
    clearTimeout(this.silence);
    this.ws?.close();
  }
}
