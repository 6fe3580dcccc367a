"""How far a partition is done when records finish in another order than they came."""

from __future__ import annotations

from collections import OrderedDict

NOTE_MAX = 200
"""Finished offsets that a note can list; more are simply done again after a crash."""


class InFlight:
    """Offsets that were taken up and are not finished; what lies before the oldest is done."""

    def __init__(self, next_offset: int = 0) -> None:
        self._open: OrderedDict[int, None] = OrderedDict()
        self._finished: set[int] = set()
        self._next = next_offset

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, offset: int) -> None:
        """A record that takes time. Offsets come in ascending order."""
        self._open[offset] = None
        self._next = offset + 1

    def passed(self, offset: int) -> None:
        """A record that asks for no work of its own."""
        self._next = max(self._next, offset + 1)

    def finish(self, offset: int) -> None:
        """The work of a record is durable."""
        if offset in self._open:
            del self._open[offset]
            self._finished.add(offset)
            oldest = self.committable
            self._finished = {o for o in self._finished if o > oldest}

    @property
    def committable(self) -> int:
        """Everything before this offset is done."""
        return next(iter(self._open), self._next)

    def note(self) -> str:
        """The finished offsets above `committable`, for the commit's metadata."""
        return ",".join(map(str, sorted(self._finished)[:NOTE_MAX]))


def noted(note: str | None) -> frozenset[int]:
    """The offsets of a note; empty for a foreign one."""
    try:
        return frozenset(int(part) for part in (note or "").split(",") if part)
    except ValueError:
        return frozenset()
