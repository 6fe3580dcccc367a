"""ClickHouse and Redis as far as the sinks rely on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from storm.history import Place
from storm.world import Row

Placed = tuple[Place, Row]


class Table:
    """A table that takes a block under a token once."""

    def __init__(self) -> None:
        self.rows: dict[Place, list[Row]] = defaultdict(list)
        self._tokens: set[str] = set()

    def insert(self, rows: Sequence[Placed], token: str) -> None:
        """Inserts the block, unless one came under this token before."""
        if token not in self._tokens:
            self._tokens.add(token)
            for place, row in rows:
                self.rows[place].append(row)


class Redis:
    """Logs of conversations that apply each `seq` once, and the offsets they stand at."""

    def __init__(self) -> None:
        self.rows: dict[Place, list[Row]] = defaultdict(list)
        self.offsets: dict[int, int] = defaultdict(int)
        """The next to apply, by partition."""

    def apply(self, partition: int, after: int, offset: int, placed: Placed) -> bool:
        """The script of an event: the log, the view and the offset change together.

        False where the store does not stand at `after`: then it was emptied, and is to be fed
        again.
        """
        if after != self.offsets[partition]:
            return False
        place, row = placed
        if row.seq > len(self.rows[place]):
            self.rows[place].append(row)
        self.offsets[partition] = offset + 1
        return True

    def empty(self) -> None:
        """Everything is gone, as after a `FLUSHALL`."""
        self.rows.clear()
        self.offsets.clear()
