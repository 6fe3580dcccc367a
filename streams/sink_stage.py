"""A stage that writes to something outside Kafka: first the write, then the offset."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Assigned

from infra.telemetry import names
from infra.telemetry.metrics import Metrics
from infra.telemetry.tracing import TRACING_OFF, Tracing
from schemas.events import Event
from schemas.failures import Unavailable
from schemas.records import AnswerPiece
from sinks.port import Commit, Delivery, Position, Sink, TopicPartition
from streams.backoff import Backoff
from streams.batch import Batch, Rewind, StageLost
from streams.batch_source import BEGINNING, BatchSource
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.positions import committed_positions
from streams.records_out import RecordsOut
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

CHECK_US = 1_000_000


class SinkStage:
    """Drives a sink. Call `attach` with its source before the first batch."""

    def __init__(
        self,
        sink: Sink,
        decoder: Decoder,
        dead_letters: DeadLetters,
        out: RecordsOut,
        loop: asyncio.AbstractEventLoop,
        metrics: Metrics,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self.name = sink.name
        self._sink = sink
        self._decoder = decoder
        self._dead_letters = dead_letters
        self._out = out
        self._loop = loop
        self._records = metrics.records.labels(sink.name)
        self._committed = cache(lambda p: metrics.committed.labels(sink.name, p[0], str(p[1])))
        self._last_commit = metrics.last_commit.labels(sink.name)
        self._batch_seconds = metrics.batch_seconds.labels(sink.name)
        self._batch_records = metrics.batch_records.labels(sink.name)
        self._delay_seconds = metrics.sink_delay_seconds.labels(sink.name)
        self._tracing = tracing
        self._waiting: dict[TopicPartition, list[Delivery]] = {}
        self._reached: dict[TopicPartition, int] = {}
        self._flush_at_us: int | None = None
        self._uncommitted: dict[TopicPartition, Position] = {}
        self._letters: dict[TopicPartition, list[Outgoing]] = {}
        self._check_at_us = 0
        self.away = False
        self._commit_at_us: int | None = None
        self._backoff = Backoff()

    def __repr__(self) -> str:
        return f"SinkStage({self.name})"

    def attach(self, source: BatchSource) -> None:
        """Says who reads for this stage."""
        self._source = source

    # The listener of the source; called on its thread, never while a batch is handled.

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        if not partitions:
            return []
        committed = committed_positions(consumer, partitions)
        begun = asyncio.run_coroutine_threadsafe(self._begin(committed), self._loop)
        positions = begun.result()
        offsets = []
        for partition in partitions:
            position = positions.get(partition) or committed[partition]
            self._waiting[partition] = []
            self._letters.pop(partition, None)
            self._reached.pop(partition, None)
            offsets.append(BEGINNING if position is None else position.offset)
        return offsets

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._reached.pop(partition, None)
            self._uncommitted.pop(partition, None)
            self._letters.pop(partition, None)
        asyncio.run_coroutine_threadsafe(self._sink.revoked(partitions), self._loop).result()

    def wake_at_us(self) -> int | None:
        wanted = (self._flush_at_us, self._commit_at_us, self._check_at_us)
        return min(at for at in wanted if at is not None)

    async def _begin(
        self, committed: dict[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        """Asks the sink where to begin, for as long as it takes and somebody wants to know."""
        backoff = Backoff(most_s=1.0)
        while not self._source.stopping:
            try:
                return await self._sink.assigned(committed)
            except Unavailable as error:
                wait_s = backoff.next_s()
                log.warning("%s can't begin and waits %.1f s: %s", self.name, wait_s, error)
                await asyncio.sleep(wait_s)
        return {}

    async def handle(self, batch: Batch) -> None:
        """Collects the batch, and writes when enough is there or has waited long enough."""
        await self._check()
        if self._is_full():
            await self._flush()
        if self._is_full():
            raise Rewind(f"{self.name} takes nothing at the moment")
        await self._collect(batch)
        if self._flush_at_us is None and self._reached:
            self._flush_at_us = batch.polled_at_us + self._sink.batch_wait_ms * 1000
        if self._is_full() or _is_due(self._flush_at_us):
            await self._flush()
        if _is_due(self._commit_at_us):
            await self._commit_rest()

    async def _check(self) -> None:
        """Lets the sink look whether the other side still has what it was given."""
        if not _is_due(self._check_at_us):
            return
        self._check_at_us = _now_us() + CHECK_US
        try:
            for partition, position in (await self._sink.check()).items():
                await self._go_back(partition, position)
        except Unavailable as error:
            log.info("%s can't look: %s", self.name, error)

    def _is_full(self) -> bool:
        # Whatever waits is of a partition that was reached.
        longest = max((len(self._waiting[partition]) for partition in self._reached), default=0)
        return longest >= self._sink.batch_records_max

    async def _collect(self, batch: Batch) -> None:
        """Decodes the batch, and only then takes it in: it comes again if the registry is away."""
        decoded: dict[TopicPartition, list[Delivery]] = {}
        letters: dict[TopicPartition, list[Outgoing]] = {}
        try:
            await self._decoder.prepare(chain.from_iterable(batch.messages.values()))
            for partition, messages in batch.messages.items():
                sorted_out = self._dead_letters.sort(messages, self._decoder)
                decoded[partition], letters[partition] = sorted_out
        except Unavailable as error:
            raise Rewind(str(error)) from error
        for partition, messages in batch.messages.items():
            self._waiting.setdefault(partition, []).extend(decoded[partition])
            self._letters.setdefault(partition, []).extend(letters[partition])
            self._reached[partition] = messages[-1].offset() + 1

    async def _flush(self) -> None:
        """Writes every partition side by side; what can't be written now waits for the next try."""
        began, wait_s = time.monotonic(), 0.0
        self._flush_at_us = None
        failures = await self._write_all(list(self._reached))
        for failure in failures:
            if not isinstance(failure, Unavailable):
                raise failure
        self.away = bool(failures)
        if failures:
            wait_s = self._backoff.next_s()
            log.warning("%s waits %.1f s: %s", self.name, wait_s, failures[0])
        else:
            self._backoff.reset()
            wait_s = self._sink.batch_wait_ms / 1000
        if self._reached:
            self._flush_at_us = _now_us() + int(wait_s * 1e6)
        self._batch_seconds.observe(time.monotonic() - began)

    async def _write_all(self, partitions: Sequence[TopicPartition]) -> list[BaseException]:
        """What went wrong. One that fails does not stop the others in the middle of their write."""
        if len(partitions) == 1:  # as nearly always, and then no tasks are needed
            try:
                await self._write(partitions[0])
            except Exception as error:
                return [error]
            return []
        writes = (self._write(partition) for partition in partitions)
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _write(self, partition: TopicPartition) -> None:
        batch, reached = self._waiting[partition], self._reached[partition]
        await self._send_letters(partition)
        if batch:
            began_ns = time.time_ns()
            position = await self._sink.write(partition, batch, self._commit_of(partition))
            if position.offset < batch[0].offset:
                await self._go_back(partition, position)
                return
            self._trace(batch, position, began_ns)
            left = [d for d in batch if d.offset >= position.offset]
        else:
            position, left = Position(reached), []
        if not left and position.offset < reached:
            position = Position(reached, position.note)
        if self._sink.commit_every_ms:
            self._uncommitted[partition] = position
            if self._commit_at_us is None:
                self._commit_at_us = _now_us() + self._sink.commit_every_ms * 1000
        else:
            await self._commit_of(partition)(position)
            self._note_commit({partition: position})
        self._waiting[partition] = left
        if not left:
            del self._reached[partition]
        self._observe(batch[: len(batch) - len(left)])

    async def _send_letters(self, partition: TopicPartition) -> None:
        """Makes the partition's dead letters durable; until then its offset stays behind them."""
        letters = self._letters.get(partition)
        if letters:
            await asyncio.gather(*(self._out.send(letter) for letter in letters))
            self._letters[partition] = []

    async def _commit_rest(self) -> None:
        """Commits what was written since the last time, of all partitions at once."""
        self._commit_at_us = None
        positions, self._uncommitted = self._uncommitted, {}
        if not positions:
            return  # they were given up, or are read again
        try:
            await self._source.call(lambda consumer: _commit(consumer, positions))
        except Unavailable as error:
            log.info("%s: %s", self.name, error)
            self._uncommitted = {**positions, **self._uncommitted}
            self._commit_at_us = _now_us() + self._sink.commit_every_ms * 1000
        else:
            self._note_commit(positions)

    def _note_commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        self._last_commit.set_to_current_time()
        for partition, position in positions.items():
            self._committed(partition).set(position.offset)

    async def _go_back(self, partition: TopicPartition, position: Position) -> None:
        """What the sink wrote before is gone, so it gets that again."""
        log.warning("%s reads %s again from offset %d", self.name, partition, position.offset)
        back = Assigned(partition.topic, partition.partition, position.offset)
        await self._source.call(lambda consumer: consumer.seek(back))
        self._waiting[partition] = []
        self._letters.pop(partition, None)
        self._reached.pop(partition, None)
        self._uncommitted.pop(partition, None)

    def _commit_of(self, partition: TopicPartition) -> Commit:
        async def commit(position: Position) -> None:
            await self._source.call(lambda consumer: _commit(consumer, {partition: position}))

        return commit

    def _observe(self, written: Sequence[Delivery]) -> None:
        self._records.inc(len(written))
        if written:
            self._batch_records.observe(len(written))
            # One for all: the others of the write are younger.
            self._delay_seconds.observe(max(0, _now_us() - _dated_us(written[0])) / 1e6)

    def _trace(self, batch: Sequence[Delivery], position: Position, began_ns: int) -> None:
        if not self._tracing.enabled:
            return
        ended_ns = time.time_ns()
        for delivery in batch:
            if delivery.offset < position.offset and delivery.traceparent:
                self._tracing.record(
                    f"{self.name} {type(delivery.record).__name__}",
                    delivery.traceparent,
                    began_ns,
                    ended_ns,
                    {names.STAGE: self.name},
                    "consumer",
                )


def _now_us() -> int:
    return time.time_ns() // 1000


def _dated_us(delivery: Delivery) -> int:
    """When the record came about, in microseconds since 1970: an event, or a piece of an answer."""
    record: Event | AnswerPiece = delivery.record
    return record.produced_at if isinstance(record, AnswerPiece) else record.envelope.occurred_at


def _is_due(at_us: int | None) -> bool:
    return at_us is not None and at_us <= _now_us()


def _commit(consumer: Consumer, positions: Mapping[TopicPartition, Position]) -> None:
    offsets = [Assigned(*p, position.offset, position.note) for p, position in positions.items()]
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        reason = error.args[0]
        if reason.fatal():
            raise StageLost(f"a position can't be committed: {reason.str()}") from error
        # Also when the partition is no longer ours: the next poll will say so.
        raise Unavailable(f"a position can't be committed: {reason.str()}") from error
