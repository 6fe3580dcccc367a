"""Records that no retry can handle, put aside sealed, so that the stage can go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from confluent_kafka import Message

from infra.keys.sealing import Sealer
from infra.telemetry.metrics import Metrics
from schemas.failures import Invalid
from schemas.headers import KNOWN
from schemas.records import DeadLetter
from schemas.topics import DEAD_LETTERS, EVENT_BYTES_MAX
from schemas.wire import TopicWire
from sinks.port import Delivery
from streams.decoding import Decoder
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

CONTENT_BYTES_MAX = EVENT_BYTES_MAX
"""All that a record of ours can have. What is larger was compressed by somebody on its way."""
KEY_BYTES_MAX = 64 * 1024


def sealed_for(topic: str, partition: int, offset: int) -> str:
    """What a letter's key and content are bound to: the place of the record."""
    return f"{topic}/{partition}/{offset}"


class DeadLetters:
    """Writes the dead letters of one stage."""

    def __init__(self, stage: str, wire: TopicWire, sealer: Sealer, metrics: Metrics) -> None:
        self._stage = stage
        self._wire = wire
        self._sealer = sealer
        self._metrics = metrics

    def sort(
        self, messages: Sequence[Message], decoder: Decoder
    ) -> tuple[list[Delivery], list[Outgoing]]:
        """The records of one partition that are wanted, and the letters for what is none.

        Raises `Unavailable`.
        """
        letters: list[Outgoing] = []

        def reject(message: Message, error: Invalid) -> None:
            letters.append(self.letter(message, error))

        return decoder.decode_all(messages, reject), letters

    def letter(self, message: Message, reason: Invalid) -> Outgoing:
        """The record for a message that is not what it should be."""
        place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
        headers = _own_headers(message)
        return self._letter(place, headers, message.key() or b"", message.value() or b"", reason)

    def letter_of(self, delivery: Delivery, value: bytes, reason: Invalid) -> Outgoing:
        """The record for one that was decoded, and could not be used all the same."""
        place = (delivery.topic, delivery.partition, delivery.offset)
        return self._letter(place, {}, delivery.key, value, reason)

    def _letter(
        self,
        place: tuple[str, int, int],
        headers: dict[str, str],
        key: bytes,
        value: bytes,
        reason: Invalid,
    ) -> Outgoing:
        # The original key is sealed as well: a foreign producer may have put anything there.
        name = sealed_for(*place)
        why = str(reason)
        if len(value) > CONTENT_BYTES_MAX or len(key) > KEY_BYTES_MAX:
            why += f" (of {len(key)} + {len(value)} bytes of key and value the first are kept)"
        log.warning("%s puts %s aside: %s", self._stage, name, reason.code)
        self._metrics.dead_letters.labels(self._stage, reason.code).inc()
        letter = DeadLetter(
            stage=self._stage,
            topic=place[0],
            partition=place[1],
            offset=place[2],
            code=reason.code,
            reason=why,
            failed_at=time.time_ns() // 1000,
            headers=headers,
            key=self._sealer.seal_bytes(key[:KEY_BYTES_MAX], context=name),
            content=self._sealer.seal_bytes(value[:CONTENT_BYTES_MAX], context=name),
        )
        return Outgoing(DEAD_LETTERS.name, name.encode(), self._wire.encode(letter))


def _own_headers(message: Message) -> dict[str, str]:
    return {
        name: value.decode("ascii", "replace")
        for name, value in message.headers() or ()
        if name in KNOWN and isinstance(value, bytes) and len(value) <= 256
    }
