"""A stage that writes to something outside Kafka: first the write, then the offset."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from streams.batch import Batch, KafkaUnavailable, Rewind, StageLost
from streams.batch_source import BEGINNING, BatchSource
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.positions import committed_positions
from streams.records_out import RecordsOut
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

CHECK_US = 1_000_000


@dataclass(slots=True)
class _Lane:
    """What one partition has waiting, and when it is written."""

    waiting: list[Delivery] = field(default_factory=list)
    letters: list[Outgoing] = field(default_factory=list)
    reached: int = 0
    """The offset that follows all that was taken in."""
    write_at_us: int | None = None
    """None: nothing was taken in since, or it is in trouble and waits to be tried again."""
    trouble: Unavailable | None = None
    """Why the last write failed."""
    uncommitted: Position | None = None

    def is_full(self, most: int) -> bool:
        return len(self.waiting) >= most

    def is_due(self, most: int) -> bool:
        return self.trouble is None and (_is_due(self.write_at_us) or self.is_full(most))

    def take(self, records: list[Delivery], letters: list[Outgoing], reached: int) -> None:
        self.waiting += records
        self.letters += letters
        self.reached = reached

    def tried(self, trouble: Unavailable | None, wait_ms: int) -> None:
        """A write has ended. What it left over waits as long as what comes anew."""
        self.trouble = trouble
        again = trouble is None and self.waiting
        self.write_at_us = _now_us() + wait_ms * 1000 if again else None


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
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._retry_at_us: int | None = None
        """When one of the lanes in trouble is tried again."""
        self._probes = 0
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
            self._lanes[partition] = _Lane()
            offsets.append(BEGINNING if position is None else position.offset)
        return offsets

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        for partition in partitions:
            self._lanes.pop(partition, None)
        self.away = self._is_away()
        asyncio.run_coroutine_threadsafe(self._sink.revoked(partitions), self._loop).result()

    def wake_at_us(self) -> int | None:
        wanted = [self._check_at_us, self._commit_at_us, self._retry_at_us]
        wanted += [lane.write_at_us for lane in self._lanes.values()]
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
        self._batch = batch
        await self._check()
        if any(self._is_full(partition) for partition in batch.messages):
            await self._write_due()
            await self._hold_full(batch)
        await self._collect(batch)
        await self._write_due()
        await self._release()
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

    def _is_full(self, partition: TopicPartition) -> bool:
        return self._lanes[partition].is_full(self._sink.batch_records_max)

    async def _hold_full(self, batch: Batch) -> None:
        """Holds partitions up that can't be written; the others are none the worse for it."""
        full = list(filter(self._is_full, batch.messages))
        for partition in full:
            batch.give_back(partition, 0)
        if full:
            await self._source.hold(self._source.held.union(full))

    async def _release(self) -> None:
        """Reads on where there is room again."""
        held = self._source.held
        full = set(filter(self._is_full, held))
        if full != held:
            await self._source.hold(full)

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
        write_at_us = batch.polled_at_us + self._sink.batch_wait_ms * 1000
        for partition, messages in batch.messages.items():
            lane = self._lanes[partition]
            lane.take(decoded[partition], letters[partition], messages[-1].offset() + 1)
            if lane.write_at_us is None and lane.trouble is None:
                lane.write_at_us = write_at_us

    async def _write_due(self) -> None:
        """Writes the lanes whose time has come, side by side."""
        most = self._sink.batch_records_max
        due = [p for p, lane in self._lanes.items() if lane.is_due(most)]
        probe = self._probe()
        if probe is not None:
            due.append(probe)
        if not due:
            return
        began = time.monotonic()
        outcomes = await self._write_all(due)
        for partition, outcome in zip(due, outcomes, strict=True):
            if outcome is not None and not isinstance(outcome, Unavailable):
                raise outcome
            self._lanes[partition].tried(outcome, self._sink.batch_wait_ms)
        helped = probe is not None and self._lanes[probe].trouble is None
        self._settle_trouble(helped=helped)
        self._batch_seconds.observe(time.monotonic() - began)

    def _probe(self) -> TopicPartition | None:
        """One lane in trouble, when it is time to try again, and another one the next time.

        A try may take seconds, and the lanes that are well wait for it.
        """
        if not _is_due(self._retry_at_us):
            return None
        self._retry_at_us = None
        troubled = self._troubled()
        self._probes += 1
        return troubled[self._probes % len(troubled)] if troubled else None

    def _settle_trouble(self, *, helped: bool) -> None:
        """Says when to try again what went wrong; where that `helped` one lane, at once."""
        troubled = self._troubled()
        self.away = self._is_away()
        if helped or not troubled:
            self._backoff.reset()
        if not troubled or self._retry_at_us is not None:
            return
        wait_s = 0.0 if helped else self._backoff.next_s()
        self._retry_at_us = _now_us() + int(wait_s * 1e6)
        if wait_s:
            trouble = self._lanes[troubled[0]].trouble
            log.warning("%s waits %.1f s: %s", self.name, wait_s, trouble)

    def _troubled(self) -> list[TopicPartition]:
        return [p for p, lane in self._lanes.items() if lane.trouble is not None]

    def _is_away(self) -> bool:
        """Whether something but Kafka is."""
        troubles = (self._lanes[partition].trouble for partition in self._troubled())
        return any(not isinstance(trouble, KafkaUnavailable) for trouble in troubles)

    async def _write_all(
        self, partitions: Sequence[TopicPartition]
    ) -> Sequence[BaseException | None]:
        """What went wrong with each. One that fails does not stop the others in their write."""
        if len(partitions) == 1:  # as nearly always, and then no tasks are needed
            try:
                await self._write(partitions[0])
            except Exception as error:
                return [error]
            return [None]
        writes = (self._write(partition) for partition in partitions)
        return await asyncio.gather(*writes, return_exceptions=True)

    async def _write(self, partition: TopicPartition) -> None:
        lane = self._lanes[partition]
        batch, reached = lane.waiting, lane.reached
        await self._send_letters(lane)
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
            lane.uncommitted = position
            if self._commit_at_us is None:
                self._commit_at_us = _now_us() + self._sink.commit_every_ms * 1000
        else:
            await self._commit_of(partition)(position)
            self._note_commit({partition: position})
        lane.waiting = left
        self._observe(batch[: len(batch) - len(left)])

    async def _send_letters(self, lane: _Lane) -> None:
        """Makes a lane's dead letters durable; until then its offset stays behind them."""
        if lane.letters:
            await asyncio.gather(*(self._out.send(letter) for letter in lane.letters))
            lane.letters = []

    async def _commit_rest(self) -> None:
        """Commits what was written since the last time, of all partitions at once."""
        self._commit_at_us = None
        positions = {
            p: lane.uncommitted for p, lane in self._lanes.items() if lane.uncommitted is not None
        }
        if not positions:
            return  # they were given up, or are read again
        try:
            await self._source.call(lambda consumer: _commit(consumer, positions))
        except Unavailable as error:
            log.info("%s: %s", self.name, error)
            self._commit_at_us = _now_us() + self._sink.commit_every_ms * 1000
        else:
            for partition in positions:
                self._lanes[partition].uncommitted = None
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
        self._lanes[partition] = _Lane()
        # What was polled before that comes again.
        self._batch.messages.pop(partition, None)
        self._batch.rest.pop(partition, None)

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
        raise KafkaUnavailable(f"a position can't be committed: {reason.str()}") from error
