"""What the Redis sink reports about its work. Names and labels of metrics are the receiver's."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Receives counts."""

    def applied(self, tenant_id: str, events: int) -> None:
        """Events entered Redis."""

    def repeated(self, events: int) -> None:
        """Events came that Redis had already."""

    def pieces(self, appended: int, held: int, dropped: int) -> None:
        """Pieces of answers were shown, wait for what they follow, or came too late."""

    def gap(self, tenant_id: str) -> None:
        """A conversation was stopped, since an event of it is missing."""

    def tail_lost(self, topic: str, partition: int) -> None:
        """Redis was emptied or rolled back and is fed again."""


class NoMeter:
    """Counts nothing."""

    def applied(self, tenant_id: str, events: int) -> None: ...

    def repeated(self, events: int) -> None: ...

    def pieces(self, appended: int, held: int, dropped: int) -> None: ...

    def gap(self, tenant_id: str) -> None: ...

    def tail_lost(self, topic: str, partition: int) -> None: ...
