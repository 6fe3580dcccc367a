"""One message and its answer, as the client sees them arrive, with the times of each step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parley.client.cursor import Applied, Event, Reset, Text

OUTCOMES = {
    "TurnCompleted": "completed",
    "TurnFailed": "failed",
    "TurnCancelled": "cancelled",
    "TurnRefused": "refused",
    "CommandRejected": "rejected",
}


@dataclass(slots=True)
class Exchange:
    """Times are seconds of `time.perf_counter`, None until it happened.

    `outcome` is completed, failed, cancelled, refused or rejected once `finished` is set; then
    `text` is the answer as it stands in the log.
    """

    mid: str
    sent_at: float = field(default_factory=time.perf_counter)
    ok_at: float | None = None
    received_at: float | None = None
    analysed_at: float | None = None
    first_text_at: float | None = None
    finished_at: float | None = None
    turn: str | None = None
    attempt: int = 0
    text: str = ""
    outcome: str | None = None
    code: str | None = None
    message: str | None = None
    citations: tuple[Mapping[str, Any], ...] = ()
    declined: bool = False
    degraded: tuple[str, ...] = ()
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def apply(self, item: Applied) -> None:
        """Takes what concerns this message."""
        now = time.perf_counter()
        if isinstance(item, Event):
            self._event(item, now)
        elif isinstance(item, Text):
            if item.turn == self.turn and self.outcome is None:
                self.text = item.text if item.at == 0 else self.text + item.text
                self.first_text_at = self.first_text_at or now
        else:
            self._reset(item, now)

    def _event(self, event: Event, now: float) -> None:
        if event.turn is not None and event.turn == self.turn and event.type == "TurnRestarted":
            self.text = ""
        if event.mid != self.mid or self.outcome is not None:
            return
        match event.type:
            case "MessageReceived":
                self.received_at = now
            case "MessageAnalysed":
                self.analysed_at = now
            case "TurnStarted":
                self.turn, self.attempt = event.turn, 1
            case kind if kind in OUTCOMES:
                self._finish(OUTCOMES[kind], event.data, now)

    def _reset(self, reset: Reset, now: float) -> None:
        """A snapshot may hold the end of this message's turn, or its open answer."""
        for message in reset.state.get("messages", ()):
            if message.get("mid") != self.mid or self.outcome is not None:
                continue
            self.received_at = self.received_at or now
            if message["who"] == "assistant":
                self._finish(message.get("outcome", "completed"), message, now)
        turn = reset.state.get("turn")
        if turn and turn.get("mid") == self.mid:
            self.turn, self.attempt = turn["turn"], turn.get("attempt", 1)
            self.text = turn.get("text", "")

    def _finish(self, outcome: str, data: Mapping[str, Any], now: float) -> None:
        self.outcome = outcome
        self.finished_at = now
        self.code, self.message = data.get("code"), data.get("message")
        if outcome == "completed":
            self.text = data["text"]
            self.first_text_at = self.first_text_at or now
            self.citations = tuple(data.get("citations", ()))
            self.declined = bool(data.get("declined"))
            self.degraded = tuple(data.get("degraded", ()))
        self.finished.set()
