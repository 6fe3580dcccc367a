"""What an import measured: outcomes, latencies of each step and throughput."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parley.client import Exchange

STEPS = {
    "send → ok": "ok_at",
    "send → MessageReceived": "received_at",
    "send → first token": "first_text_at",
    "send → completed": "finished_at",
}
"""The steps of a message, and where an exchange keeps their time."""
PERCENTILES = (50, 90, 95, 99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of an ordered, non-empty sequence do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(slots=True)
class Figures:
    """Collects exchanges. `unanswered` holds (conversation, mid or dialogue, why)."""

    exchanges: list[Exchange] = field(default_factory=list)
    unanswered: list[tuple[str, str, str]] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)
    reconnects: int = 0
    began_at: float = 0.0
    ended_at: float = 0.0

    def add(self, conversation: str, exchange: Exchange) -> None:
        """Takes a finished exchange."""
        self.exchanges.append(exchange)
        if exchange.outcome != "completed":
            why = exchange.message or exchange.outcome or "no answer came in time"
            self.unanswered.append((conversation, exchange.mid, why))

    @property
    def seconds(self) -> float:
        """From the first send to the last answer."""
        return max(self.ended_at - self.began_at, 1e-9)

    def latencies_ms(self, step: str) -> list[float]:
        """The latencies of one of `STEPS` in milliseconds, ordered."""
        name = STEPS[step]
        times = ((each.sent_at, getattr(each, name)) for each in self.exchanges)
        return sorted((at - sent) * 1000 for sent, at in times if at is not None)

    def as_json(self) -> dict[str, Any]:
        """For scripts. Latencies in milliseconds."""
        completed = [each for each in self.exchanges if each.outcome == "completed"]
        return {
            "conversations": len(self.conversations),
            "messages": len(self.exchanges),
            "completed": len(completed),
            "declined": sum(each.declined for each in completed),
            "degraded": dict(Counter(step for each in completed for step in each.degraded)),
            "unanswered": [
                {"conversation": c, "message": m, "why": why} for c, m, why in self.unanswered
            ],
            "reconnects": self.reconnects,
            "seconds": round(self.seconds, 3),
            "messages_per_s": round(len(self.exchanges) / self.seconds, 2),
            "latency_ms": {step: self._percentiles(step) for step in STEPS},
            "conversation_ids": self.conversations,
        }

    def _percentiles(self, step: str) -> dict[str, float]:
        ordered = self.latencies_ms(step)
        if not ordered:
            return {}
        found = {f"p{each}": round(percentile(ordered, each), 1) for each in PERCENTILES}
        return {**found, "max": round(ordered[-1], 1)}
