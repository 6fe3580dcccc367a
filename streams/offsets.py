"""How far a partition is done when records finish in another order than they came."""

from __future__ import annotations

from collections import OrderedDict


class InFlight:
    """Offsets that were taken up and are not finished; what lies before the oldest is done."""

    def __init__(self, next_offset: int = 0) -> None:
        self._open: OrderedDict[int, None] = OrderedDict()
        self._next = next_offset

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, offset: int) -> None:
        """A record that takes time. Offsets come in ascending order."""
        self._open[offset] = None
        self._next = offset + 1

    def passed(self, offset: int) -> None:
        """A record that asks for no work of its own, or the last one before the next."""
        self._next = offset + 1

    def finish(self, offset: int) -> None:
        """The work of a record is done for ever."""
        self._open.pop(offset, None)

    @property
    def committable(self) -> int:
        """Everything before this offset is done."""
        return next(iter(self._open), self._next)
