"""Merging of streamed text: the first piece goes at once, later ones together for a moment.

Pure: time comes in as an argument, and whoever owns the timer asks when to call `flush`.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.replies import tokens as tokens_frame


class Stretch(NamedTuple):
    """A piece of an answer: the code points from `start` to `end`, and their frame."""

    turn: str
    attempt: int
    start: int
    end: int
    frame: bytes


class TokenMerge:
    """The pieces of one conversation, merged. Times are in seconds of any steady clock."""

    def __init__(self, conversation: str, *, wait_s: float, bytes_max: int) -> None:
        self._conversation = conversation
        self._wait_s = wait_s
        self._bytes_max = bytes_max
        self._sent_at = float("-inf")
        self._turn = ""
        self._attempt = 0
        self._start = 0
        self._end = 0
        self._size = 0
        self._texts: list[str] = []

    @property
    def due_at(self) -> float | None:
        """When the waiting text must go; None when nothing waits."""
        return self._sent_at + self._wait_s if self._texts else None

    def add(self, turn: str, attempt: int, start: int, text: str, now: float) -> list[Stretch]:
        """Takes a piece and returns what must be sent now, in order."""
        out = [] if self._continues(turn, attempt, start) else self.flush(now)
        # A piece may overlap what came before it; only what is new waits.
        if self._texts:
            text = text[self._end - start :]
            start = self._end
        if not text:
            return out
        if not self._texts:
            self._turn, self._attempt, self._start = turn, attempt, start
        self._texts.append(text)
        self._end = start + len(text)
        self._size += len(text.encode())
        if self._size >= self._bytes_max or now - self._sent_at >= self._wait_s:
            out += self.flush(now)
        return out

    def flush(self, now: float) -> list[Stretch]:
        """Everything that waits, as one stretch or none."""
        if not self._texts:
            return []
        text = "".join(self._texts)
        frame = tokens_frame(self._conversation, self._turn, self._attempt, self._start, text)
        stretch = Stretch(self._turn, self._attempt, self._start, self._start + len(text), frame)
        self._texts.clear()
        self._size = 0
        self._sent_at = now
        return [stretch]

    def _continues(self, turn: str, attempt: int, start: int) -> bool:
        if not self._texts:
            return True
        return (turn, attempt) == (self._turn, self._attempt) and self._start <= start <= self._end
