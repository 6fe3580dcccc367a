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
        self._metrics = metrics

    def applied(self, tenant_id: str, events: int) -> None:
        self._metrics.rows.labels("redis", "events").inc(events)

    def repeated(self, events: int) -> None:
        self._metrics.skipped.labels("redis", "repeated").inc(events)

    def pieces(self, appended: int, held: int, dropped: int) -> None:
        self._metrics.rows.labels("redis", "pieces").inc(appended)
        self._metrics.skipped.labels("redis", "piece_ahead").inc(held)
        self._metrics.skipped.labels("redis", "piece_late").inc(dropped)

    def gap(self, tenant_id: str) -> None:
        self._metrics.skipped.labels("redis", "gap").inc()

    def tail_lost(self, topic: str, partition: int) -> None:
        self._metrics.skipped.labels("redis", "tail_lost").inc()
