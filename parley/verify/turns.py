"""Keeps account of messages and turns: every turn that starts has exactly one outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from parley.verify.differences import LOG, Conversation, Difference
from schemas.events import (
    ConversationClosed,
    Event,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRefused,
    TurnStarted,
)

_OUTCOMES: dict[type, str] = {
    TurnCompleted: "completed",
    TurnFailed: "failed",
    TurnCancelled: "cancelled",
}


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn without an outcome so far."""

    tenant_id: str
    conversation_id: str
    turn_id: str
    seq: int
    """Of its `TurnStarted`."""
    deadline_us: int


@dataclass(slots=True)
class Turns:
    """The account of all conversations. Takes events in the order of each conversation."""

    messages: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    open: dict[tuple[Conversation, str], OpenTurn] = field(default_factory=dict)
    _waiting: dict[Conversation, set[int]] = field(default_factory=dict)
    """Messages that no turn was started or refused for, by the `seq` of the message."""
    problems: list[Difference] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Books one event."""
        envelope = event.envelope
        place = (envelope.tenant_id, envelope.conversation_id)
        match event:
            case MessageReceived():
                self.messages += 1
                self._waiting.setdefault(place, set()).add(envelope.seq)
            case TurnStarted():
                self._settle(place, event.message_seq)
                self.open[place, event.turn_id] = OpenTurn(
                    *place, event.turn_id, envelope.seq, event.deadline_at
                )
            case TurnRefused():
                self._settle(place, event.message_seq)
                self.outcomes["refused"] += 1
            case TurnCompleted() | TurnFailed() | TurnCancelled():
                outcome = _OUTCOMES[type(event)]
                self.outcomes[outcome] += 1
                if self.open.pop((place, event.turn_id), None) is None:
                    found = f"{outcome} by event {envelope.seq}"
                    self.problems.append(
                        Difference(*place, LOG, f"turn {event.turn_id}", "one outcome", found)
                    )
            case ConversationClosed():
                self._waiting.pop(place, None)

    def _settle(self, place: Conversation, message_seq: int) -> None:
        waiting = self._waiting.get(place, set())
        waiting.discard(message_seq)
        if not waiting:
            self._waiting.pop(place, None)

    @property
    def waiting(self) -> int:
        """How many messages of open conversations no turn was started or refused for."""
        return sum(map(len, self._waiting.values()))

    def overdue(self, now_us: int, grace_us: int) -> list[Difference]:
        """Open turns that are past their deadline by more than `grace_us`."""
        return [
            Difference(
                turn.tenant_id,
                turn.conversation_id,
                LOG,
                f"turn {turn.turn_id}",
                "an outcome by its deadline",
                f"open {(now_us - turn.deadline_us) // 1_000_000} s later",
            )
            for turn in self.open.values()
            if turn.deadline_us + grace_us < now_us
        ]
