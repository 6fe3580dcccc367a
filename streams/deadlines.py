"""Which keys of a partition ask to be looked at again, and when."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

STALE_MAX = 500
"""Replaced entries that may lie in the heap beside as many as there are keys."""


class Deadlines:
    """The earliest deadline of each key. Setting a key anew replaces what was known of it."""

    def __init__(self, known: Iterable[tuple[bytes, int]] = ()) -> None:
        self._by_key = dict(known)
        self._rebuild()

    def __len__(self) -> int:
        return len(self._by_key)

    def set(self, key: bytes, deadline_us: int | None) -> None:
        """Remembers a key's deadline, or with None that it has none."""
        if deadline_us is None:
            self._by_key.pop(key, None)
        elif self._by_key.get(key) != deadline_us:
            self._by_key[key] = deadline_us
            heapq.heappush(self._heap, (deadline_us, key))
            if len(self._heap) > 2 * len(self._by_key) + STALE_MAX:
                self._rebuild()

    def earliest_us(self) -> int | None:
        """The earliest deadline; None if there is none."""
        # Entries that were replaced stay in the heap until they come to its top.
        while self._heap and self._by_key.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_us: int) -> list[bytes]:
        """The keys whose deadline has come. They stay until they are set anew."""
        keys: dict[bytes, int] = {}
        while (earliest_us := self.earliest_us()) is not None and earliest_us <= now_us:
            # A deadline that was set back to what it had been before is in the heap twice.
            keys[heapq.heappop(self._heap)[1]] = earliest_us
        for key, deadline_us in keys.items():
            heapq.heappush(self._heap, (deadline_us, key))
        return list(keys)

    def _rebuild(self) -> None:
        self._heap = [(deadline_us, key) for key, deadline_us in self._by_key.items()]
        heapq.heapify(self._heap)
