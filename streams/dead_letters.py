"""Records that no retry can handle, put aside sealed, so that the stage can go on."""

from __future__ import annotations

import logging
import time

from confluent_kafka import Message

from infra.keys.sealing import Sealer
from infra.telemetry.metrics import Metrics
from schemas.failures import Invalid
from schemas.headers import KNOWN
from schemas.records import DeadLetter
from schemas.topics import DEAD_LETTERS
from schemas.wire import TopicWire
from streams.transactions import Outgoing

log = logging.getLogger(__name__)


class DeadLetters:
    """Writes the dead letters of one stage."""

    def __init__(self, stage: str, wire: TopicWire, sealer: Sealer, metrics: Metrics) -> None:
        self._stage = stage
        self._wire = wire
        self._sealer = sealer
        self._metrics = metrics

    def letter(self, message: Message, reason: Invalid) -> Outgoing:
        """The record for the dead-letter topic, under the original key.

        The original key is not shown, since a foreign producer may have put anything there.
        """
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        log.error("%s puts %s aside: %s", self._stage, place, reason.code)
        self._metrics.dead_letters.labels(self._stage, reason.code).inc()
        letter = DeadLetter(
            stage=self._stage,
            topic=message.topic() or "",
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            code=reason.code,
            reason=str(reason),
            failed_at=time.time_ns() // 1000,
            headers=_own_headers(message),
            key=self._sealer.seal_bytes(message.key() or b"", context=place),
            content=self._sealer.seal_bytes(message.value() or b"", context=place),
        )
        return Outgoing(DEAD_LETTERS.name, place.encode(), self._wire.encode(letter))


def _own_headers(message: Message) -> dict[str, str]:
    return {
        name: value.decode("ascii", "replace")
        for name, value in message.headers() or ()
        if name in KNOWN and isinstance(value, bytes) and len(value) <= 256
    }
