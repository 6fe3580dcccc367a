"""The conversation stage's transform with a count of the commands that it refuses.

Apart from it, so that it knows no metrics; by portions, since it handles thousands a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra.telemetry.metrics import Metrics
from schemas.events import CommandRejected, Event
from sinks.port import Delivery, TopicPartition
from streams.conversation_stage import ConversationTransform
from streams.transactional_stage import Output


class CountedConversations(ConversationTransform):
    """Counts a refusal once its batch is committed: one that is rolled back is decided again."""

    def __init__(self, metrics: Metrics, *parts: Any) -> None:
        """`parts` are those of `ConversationTransform`, in its order."""
        super().__init__(*parts)
        self._metrics = metrics
        self._refused: list[CommandRejected] = []

    def apply(
        self, records: Mapping[TopicPartition, Iterable[Delivery]], now_us: int, out: Output
    ) -> Any:
        self._refused = []
        return super().apply(records, now_us, out)

    def committed(self, changes: Any) -> None:
        super().committed(changes)
        for event in self._refused:
            tenant = self._metrics.tenant(event.envelope.tenant_id)
            self._metrics.rejected.labels(tenant, event.code).inc()

    def _decided(
        self, held: Any, portion: Sequence[Delivery], *rest: Any
    ) -> list[tuple[bytes, Event, bytes]]:
        decided = super()._decided(held, portion, *rest)
        self._refused += [event for _, event, _ in decided if isinstance(event, CommandRejected)]
        return decided
