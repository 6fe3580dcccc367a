"""The analysis stage's work: opens messages, redacts them, runs the models, seals the result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from infra.keys.errors import KeyErased
from infra.keys.sealing import Sealer
from infra.telemetry.tracing import TRACING_OFF, Tracing
from processors.analysis.analysing import Reading, interpret, prepare
from schemas.events import MessageReceived
from schemas.failures import Invalid
from schemas.headers import command_headers, rfc3339
from schemas.parts import Inference
from schemas.topics import COMMANDS, conversation_key
from schemas.wire import TopicWire
from sinks.port import Delivery, TopicPartition
from streams.tracing import traced
from streams.transactional_stage import Work
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

NAME = "analysis"
SOURCE = b"/parley/analysis"
WANTED = (MessageReceived,)


class Models(Protocol):
    """What the stage asks of the models."""

    def infer(self, texts: Sequence[str]) -> list[tuple[Inference, ...]]:
        """The verdicts on each text, in the order of the texts. Blocks."""
        ...


class AnalysisTransform:
    """From `MessageReceived` to `RecordAnalysis`. Has no state."""

    def __init__(
        self, commands: TopicWire, sealer: Sealer, models: Models, tracing: Tracing = TRACING_OFF
    ) -> None:
        self._commands = commands
        self._sealer = sealer
        self._models = models
        self._tracing = tracing

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to restore."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to forget."""

    def committed(self, partition: TopicPartition, work: Work) -> None:
        """Nothing to keep."""

    def wake_at_us(self) -> int | None:
        """Never wants to be called without records."""
        return None

    def apply(
        self, records: Mapping[TopicPartition, Sequence[Delivery]], now_us: int
    ) -> Mapping[TopicPartition, Work]:
        works = {partition: Work() for partition in records}
        readings: list[tuple[Work, Reading]] = []
        for partition, batch in records.items():
            work = works[partition]
            for delivery in batch:
                reading = self._read(delivery, work)
                if reading is not None:
                    readings.append((work, reading))
        verdicts, degraded = self._infer([r.redaction.text for _, r in readings])
        for (work, reading), inferences in zip(readings, verdicts, strict=True):
            work.outputs.append(self._outgoing(reading, inferences, degraded, now_us))
        return works

    def _read(self, delivery: Delivery, work: Work) -> Reading | None:
        message: MessageReceived = delivery.record
        if self._tracing.enabled:
            message = traced(message, NAME, self._tracing, work.spans)
        place = message.envelope
        try:
            text = self._sealer.open(
                message.text, tenant_id=place.tenant_id, conversation_id=place.conversation_id
            )
            return prepare(message, text)
        except KeyErased:
            return None  # the person was erased: there is nothing left to analyse
        except Invalid as error:
            work.poison.append((delivery, error))
            return None

    def _infer(
        self, texts: Sequence[str]
    ) -> tuple[Sequence[tuple[Inference, ...]], tuple[str, ...]]:
        """Verdicts, and why there are none: a message is answered without them if need be."""
        if not texts:
            return [], ()
        try:
            return self._models.infer(texts), ()
        except Exception as error:  # whatever ONNX Runtime raises
            # Its words could quote the input, so only the type is logged.
            log.error("the models failed on %d texts: %s", len(texts), type(error).__name__)
            return [()] * len(texts), ("models_failed",)

    def _outgoing(
        self,
        reading: Reading,
        inferences: Sequence[Inference],
        degraded: tuple[str, ...],
        now_us: int,
    ) -> Outgoing:
        event = reading.message.envelope
        sealed = self._sealer.seal(
            reading.redaction.text,
            tenant_id=event.tenant_id,
            conversation_id=event.conversation_id,
            subject=reading.message.text.subject,
            origin_id=reading.command_id,
            field="redacted",
            month=rfc3339(event.occurred_at)[:7],
        )
        command = interpret(reading, sealed, inferences, now_us, degraded)
        return Outgoing(
            COMMANDS.name,
            conversation_key(event.tenant_id, event.conversation_id),
            self._commands.encode(command),
            command_headers(type(command), command.envelope, SOURCE),
        )
