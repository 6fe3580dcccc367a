"""Measures turns from their message to their end. Both ends are dated by the log, by one clock."""

from __future__ import annotations

from collections.abc import Iterable

from infra.telemetry.metrics import Metrics
from schemas.events import Event, TurnCancelled, TurnCompleted, TurnFailed
from streams.answering.open_messages import OpenMessage

OUTCOMES = {TurnCompleted: "completed", TurnFailed: "failed", TurnCancelled: "cancelled"}


class TurnTimes:
    """The turns that this process has seen begin and not yet end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._received_us: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._received_us)

    def begun(self, message: OpenMessage) -> None:
        """A turn, or another attempt at it, has begun."""
        assert message.turn is not None
        self._received_us[message.turn.turn_id] = message.received.envelope.occurred_at

    def note(self, event: Event | None) -> None:
        """Measures the turn that ends with an event; any other event is of no interest."""
        if not isinstance(event, TurnCompleted | TurnFailed | TurnCancelled):
            return
        received_us = self._received_us.pop(event.turn_id, None)
        if received_us is not None:
            tenant = self._metrics.tenant(event.envelope.tenant_id)
            seconds = max(0, event.envelope.occurred_at - received_us) / 1e6
            self._metrics.turn_seconds.labels(tenant, OUTCOMES[type(event)]).observe(seconds)

    def forget(self, messages: Iterable[OpenMessage]) -> None:
        """These turns end under another worker's eyes."""
        for message in messages:
            assert message.turn is not None
            self._received_us.pop(message.turn.turn_id, None)
