"""The analysis stage's work: opens messages, redacts them, runs the models, seals the result.

A repeated `RecordAnalysis` has no effect, so the stage needs no transactions: it writes its
commands first and then commits the offset, as a sink does. What a crash leaves uncommitted is
analysed once more, and its second result is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from infra.keys.errors import KeyErased
from infra.keys.sealing import Sealer
from infra.telemetry.tracing import TRACING_OFF, Tracing
from processors.analysis.analysing import Reading, interpret, prepare
from schemas.commands import RecordAnalysis
from schemas.envelope import Sealed
from schemas.events import MessageReceived
from schemas.failures import Invalid, Unavailable
from schemas.headers import command_headers, rfc3339
from schemas.parts import Inference
from schemas.topics import COMMANDS, EVENTS, Topic, key_of
from schemas.wire import TopicWire
from sinks.port import Commit, Delivery, Position, TopicPartition
from streams.batch import KafkaUnavailable
from streams.dead_letters import DeadLetters
from streams.records_out import RecordsOut
from streams.tracing import traced
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

NAME = "analysis"
SOURCE = b"/parley/analysis"
WANTED = (MessageReceived,)
BATCH_MAX = 32
"""A message waits for the whole batch that it is in, at some 5 ms a message."""
COMMIT_EVERY_MS = 200
SEND_S = 10.0


class Models(Protocol):
    """What the stage asks of the models."""

    def infer(self, texts: Sequence[str]) -> list[tuple[Inference, ...]]:
        """The verdicts on each text, in the order of the texts. Blocks."""
        ...


class _Read(NamedTuple):
    """A message that was opened and redacted, with its redacted text sealed again."""

    delivery: Delivery
    reading: Reading
    sealed: Sealed


@dataclass(slots=True)
class _Front:
    """What became of the front of a batch."""

    read: list[_Read] = field(default_factory=list)
    outputs: list[Outgoing] = field(default_factory=list)
    done: int = 0
    """So many of its messages are worked off."""


class AnalysisSink:
    """From `MessageReceived` to `RecordAnalysis`. Has no state."""

    name = NAME
    topics: tuple[Topic, ...] = (EVENTS,)
    batch_records_max = BATCH_MAX
    batch_wait_ms = 0
    commit_every_ms = COMMIT_EVERY_MS

    def __init__(
        self,
        wires: Mapping[Topic, TopicWire],
        sealer: Sealer,
        models: Models,
        out: RecordsOut,
        dead_letters: DeadLetters,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        """`wires` holds those of the commands and of the events."""
        self._commands = wires[COMMANDS]
        self._events = wires[EVENTS]
        self._sealer = sealer
        self._models = models
        self._out = out
        self._dead_letters = dead_letters
        self._tracing = tracing
        # The models block, and one thread keeps a session's worth of them busy.
        self._worker = ThreadPoolExecutor(1, f"stage-{NAME}")

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        """Begins where the group stands."""
        return {}

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to forget."""

    async def check(self) -> Mapping[TopicPartition, Position]:
        """What was written is in the log."""
        return {}

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        """Analyses the batch up to the first message whose key can't be had now."""
        loop = asyncio.get_running_loop()
        front = await loop.run_in_executor(self._worker, self._analyse, batch[:BATCH_MAX])
        try:
            async with asyncio.timeout(SEND_S):
                await asyncio.gather(*(self._out.send(output) for output in front.outputs))
        except TimeoutError:
            # What arrives later all the same has no second effect.
            why = f"Kafka did not take the results within {SEND_S:.0f} s"
            raise KafkaUnavailable(why) from None
        return Position(batch[front.done - 1].offset + 1)

    def _analyse(self, batch: Sequence[Delivery]) -> _Front:
        front = _Front()
        with ExitStack() as spans:
            for delivery in batch:
                try:
                    self._read(delivery, front, spans)
                except Unavailable:
                    if not front.done:
                        raise
                    break
                front.done += 1
            verdicts, degraded = self._infer([r.reading.redaction.text for r in front.read])
            now_us = time.time_ns() // 1000
            for read, inferences in zip(front.read, verdicts, strict=True):
                try:
                    command = interpret(read.reading, read.sealed, inferences, now_us, degraded)
                    front.outputs.append(self._outgoing(command))
                except Invalid as error:
                    front.outputs.append(self._letter(read.delivery, error))
        return front

    def _read(self, delivery: Delivery, front: _Front, spans: ExitStack) -> None:
        """Asks for every key that the message needs, before the models work on any."""
        message: MessageReceived = delivery.record
        place = message.envelope
        try:
            text = self._sealer.open(
                message.text, tenant_id=place.tenant_id, conversation_id=place.conversation_id
            )
            if self._tracing.enabled:
                message = traced(message, NAME, self._tracing, spans)
            reading = prepare(message, text)
            front.read.append(_Read(delivery, reading, self._sealed(reading)))
        except KeyErased:
            return  # the person was erased: there is nothing left to analyse
        except Invalid as error:
            front.outputs.append(self._letter(delivery, error))

    def _letter(self, delivery: Delivery, error: Invalid) -> Outgoing:
        value = self._events.encode(delivery.record)
        return self._dead_letters.letter_of(delivery, value, error)

    def _sealed(self, reading: Reading) -> Sealed:
        event = reading.message.envelope
        return self._sealer.seal(
            reading.redaction.text,
            tenant_id=event.tenant_id,
            conversation_id=event.conversation_id,
            subject=reading.message.text.subject,
            origin_id=reading.command_id,
            field="redacted",
            month=rfc3339(event.occurred_at)[:7],
        )

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

    def _outgoing(self, command: RecordAnalysis) -> Outgoing:
        return Outgoing(
            COMMANDS.name,
            key_of(command),
            self._commands.encode(command),
            command_headers(type(command), command.envelope, SOURCE),
        )
