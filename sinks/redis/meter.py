"""What the Redis sink reports about its work, and the process's metrics as its receiver."""

from __future__ import annotations

from typing import Protocol

from infra.telemetry.metrics import Metrics


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


class MetricsMeter:
    """Counts in the metrics of the process."""

    def __init__(self, metrics: Metrics) -> None:
        rows, skipped = metrics.rows, metrics.skipped
        self._events, self._pieces = rows.labels("redis", "events"), rows.labels("redis", "pieces")
        self._repeated = skipped.labels("redis", "repeated")
        self._ahead = skipped.labels("redis", "piece_ahead")
        self._late = skipped.labels("redis", "piece_late")
        self._gaps = skipped.labels("redis", "gap")
        self._tails_lost = skipped.labels("redis", "tail_lost")

    def applied(self, tenant_id: str, events: int) -> None:
        self._events.inc(events)

    def repeated(self, events: int) -> None:
        self._repeated.inc(events)

    def pieces(self, appended: int, held: int, dropped: int) -> None:
        self._pieces.inc(appended)
        self._ahead.inc(held)
        self._late.inc(dropped)

    def gap(self, tenant_id: str) -> None:
        self._gaps.inc()

    def tail_lost(self, topic: str, partition: int) -> None:
        self._tails_lost.inc()
