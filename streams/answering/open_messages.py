"""Folds a partition's events into the messages that still wait for the end of their turn.

A message is in flight from its `MessageReceived` until the log says how its turn ended. So the
committed offset, the oldest message in flight, is all that a successor needs: reading on from
there it meets every open message again, with its texts, and every turn that was begun.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.envelope import Sealed
from schemas.events import (
    Event,
    MessageAnalysed,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRefused,
    TurnRestarted,
    TurnStarted,
)
from schemas.topics import key_of
from streams.offsets import InFlight

WANTED = (
    MessageReceived,
    MessageAnalysed,
    TurnStarted,
    TurnRestarted,
    TurnCompleted,
    TurnFailed,
    TurnCancelled,
    TurnRefused,
)
"""The events that matter here."""

MessageKey = tuple[bytes, int]
"""A conversation's key and the `seq` of the message."""


@dataclass(slots=True)
class OpenMessage:
    """A message that has no outcome yet, with what is known of it."""

    offset: int
    received: MessageReceived
    redacted: Sealed | None = None
    turn: TurnStarted | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Begin:
    """An attempt at a message's turn is to begin."""

    message: OpenMessage


@dataclass(frozen=True, slots=True)
class End:
    """The turn is over, or its running attempt no longer counts."""

    turn_id: str


class OpenMessages:
    """One partition's open messages. `take` says what an event asks the stage to do."""

    def __init__(self, next_offset: int = 0) -> None:
        self._open: dict[MessageKey, OpenMessage] = {}
        self._by_turn: dict[str, MessageKey] = {}
        self._in_flight = InFlight(next_offset)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def committable(self) -> int:
        """The offset that a successor has to begin at."""
        return self._in_flight.committable

    def begun(self) -> Iterable[OpenMessage]:
        """The messages whose turn has started."""
        return [m for m in self._open.values() if m.turn is not None]

    def take_or_pass(self, event: Event | None, offset: int) -> Begin | End | None:
        """`take`, or with None only counts a record that is none of this stage's business."""
        if event is None:
            self._in_flight.passed(offset)
            return None
        return self.take(event, offset)

    def take(self, event: Event, offset: int) -> Begin | End | None:
        """Folds one event, in offset order."""
        conversation = key_of(event)
        if isinstance(event, MessageReceived):
            self._in_flight.begin(offset)
            self._open[conversation, event.envelope.seq] = OpenMessage(offset, event)
            return None
        self._in_flight.passed(offset)
        match event:
            case MessageAnalysed():
                message = self._open.get((conversation, event.message_seq))
                if message is not None:
                    message.redacted = event.redacted
                return None
            case TurnStarted():
                return self._started((conversation, event.message_seq), event)
            case TurnRestarted():
                return self._restarted(event)
            case TurnCompleted() | TurnFailed() | TurnCancelled():
                self._finish((conversation, event.message_seq))
                self._by_turn.pop(event.turn_id, None)
                return End(event.turn_id)
            case TurnRefused():
                self._finish((conversation, event.message_seq))
                return None
            case _:
                return None

    def _started(self, key: MessageKey, event: TurnStarted) -> Begin | None:
        message = self._open.get(key)
        if message is None:
            return None
        message.turn, message.attempt = event, 1
        self._by_turn[event.turn_id] = key
        return Begin(message)

    def _restarted(self, event: TurnRestarted) -> Begin | None:
        key = self._by_turn.get(event.turn_id)
        message = None if key is None else self._open.get(key)
        if message is None:
            return None
        message.attempt = event.attempt
        return Begin(message)

    def _finish(self, key: MessageKey) -> None:
        message = self._open.pop(key, None)
        if message is not None:
            self._in_flight.finish(message.offset)
