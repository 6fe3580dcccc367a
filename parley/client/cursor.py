"""How far a client has a conversation, and what it does with each frame. Pure.

Frames may come twice, overlap or begin anywhere; applying them through a cursor gives every
event once and every code point of an answer once, or says that something is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TURN_STARTS = frozenset(("TurnStarted", "TurnRestarted"))
TURN_ENDS = frozenset(("TurnCompleted", "TurnFailed", "TurnCancelled"))


@dataclass(frozen=True, slots=True)
class Event:
    """An event, applied."""

    seq: int
    type: str
    ts: str
    mid: str | None
    turn: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """More of an answer. `at` is where it begins, in code points; at 0 the answer starts over."""

    turn: str
    attempt: int
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The conversation as of event `seq`: everything shown before is replaced by `state`."""

    epoch: str
    seq: int
    state: Mapping[str, Any]


Applied = Event | Text | Reset


class Gap(Exception):
    """A frame does not follow what the client has: subscribe again from the cursor."""


@dataclass(slots=True)
class Cursor:
    """The position in one conversation. `seq` is None before anything is known."""

    epoch: str | None = None
    seq: int | None = None
    turn: str | None = None
    attempt: int = 0
    at: int = 0
    text: str = field(default="", repr=False)
    """The open answer's text up to `at`."""
    over: str | None = None
    """The turn that ended last; text of it comes too late."""

    def position(self) -> dict[str, Any]:
        """The fields that a `sub` carries."""
        if self.seq is None:
            return {}
        position: dict[str, Any] = {"seq": self.seq}
        if self.epoch is not None:
            position["epoch"] = self.epoch
        if self.turn is not None:
            position |= {"turn": self.turn, "attempt": self.attempt, "at": self.at}
        return position

    def apply(self, frame: Mapping[str, Any]) -> Applied | None:
        """What a frame adds, None for nothing. Raises `Gap`, with the cursor left where it was."""
        match frame["t"]:
            case "event":
                return self._event(frame)
            case "tokens":
                return self._tokens(frame)
            case "snapshot":
                return self._snapshot(frame)
            case "subbed":
                if frame["resumed"]:
                    self.epoch = frame["epoch"]
                return None
            case _:
                return None

    def _event(self, frame: Mapping[str, Any]) -> Event | None:
        seq = frame["seq"]
        have = self.seq or 0
        if seq <= have:
            return None
        if seq != have + 1:
            raise Gap(f"event {seq} came after event {have}")
        self.seq = seq
        kind, turn, data = frame["type"], frame.get("turn"), frame["data"]
        if kind in TURN_STARTS:
            self._begin(turn, data.get("attempt", 1))
        elif kind in TURN_ENDS:
            self._begin(None, 0)
            self.over = turn
        return Event(seq, kind, frame["ts"], frame.get("mid"), turn, data)

    def _tokens(self, frame: Mapping[str, Any]) -> Text | None:
        turn, attempt, start, text = frame["turn"], frame["attempt"], frame["from"], frame["text"]
        if turn == self.over:
            return None
        if turn != self.turn:
            # A client that kept its events but not the open answer gets that from its start.
            return self._start_over(turn, attempt, start, text)
        if attempt < self.attempt:
            return None
        if attempt > self.attempt:
            return self._start_over(turn, attempt, start, text)
        if start > self.at:
            raise Gap(f"text from {start} came after text up to {self.at}")
        new = text[self.at - start :]
        return self._append(turn, attempt, new) if new else None

    def _start_over(self, turn: str, attempt: int, start: int, text: str) -> Text:
        if start:
            raise Gap(f"text from {start} came without its beginning")
        self._begin(turn, attempt)
        return self._append(turn, attempt, text)

    def _append(self, turn: str, attempt: int, new: str) -> Text:
        at = self.at
        self.text += new
        self.at += len(new)
        return Text(turn, attempt, at, new)

    def _begin(self, turn: str | None, attempt: int) -> None:
        self.turn, self.attempt, self.at, self.text = turn, attempt, 0, ""

    def _snapshot(self, frame: Mapping[str, Any]) -> Reset:
        state = frame["state"]
        if frame["epoch"] != self.epoch:
            # A log that began anew gives the ids of its turns again.
            self.over = None
        self.epoch, self.seq = frame["epoch"], frame["seq"]
        open_turn = state.get("turn")
        self._begin(None, 0)
        if open_turn:
            self._begin(open_turn["turn"], open_turn.get("attempt", 1))
            self.text = open_turn.get("text", "")
            self.at = len(self.text)
        return Reset(frame["epoch"], frame["seq"], state)
