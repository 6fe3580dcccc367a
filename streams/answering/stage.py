"""Runs attempts at turns as the log asks for them, many at once in every partition."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

from infra.telemetry.metrics import Metrics
from schemas.events import Event
from schemas.failures import Invalid, Unavailable
from schemas.topics import EVENTS
from sinks.port import TopicPartition
from streams.answering.attempt import Attempt, Desk, report, restart
from streams.answering.open_messages import Begin, End, OpenMessage, OpenMessages
from streams.answering.turn_times import TurnTimes
from streams.backoff import Backoff
from streams.batch import Batch, Rewind, StageLost
from streams.batch_source import BatchSource
from streams.decoding import Decoder
from streams.kafka_options import KafkaOptions
from streams.positions import committed_offsets
from streams.restore import read_to_end

log = logging.getLogger(__name__)

NAME = "answering"
COMMIT_EVERY_US = 250_000
Work = Callable[[OpenMessage], Awaitable[None]]


class AnsweringStage:
    """A stage without transactions: what it produces may repeat, and the conversation sorts it out.

    On assignment it reads from the committed offset to the end without answering anything. Turns
    that are open then may have been begun by another worker, so it asks for a new attempt at each;
    the conversation's `TurnRestarted` starts it, here or wherever the partition is by then.
    """

    def __init__(
        self,
        decoder: Decoder,
        desk: Desk,
        options: KafkaOptions,
        metrics: Metrics,
        *,
        concurrency: int,
    ) -> None:
        self.name = NAME
        self._decoder = decoder
        self._desk = desk
        self._options = options
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(concurrency)
        self._partitions: dict[TopicPartition, OpenMessages] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._running: dict[str, tuple[TopicPartition, asyncio.Task[None]]] = {}
        self._lost_provider: set[str] = set()
        self._commit_at_us: int | None = None
        self._times = TurnTimes(metrics)
        metrics.open_turns.set_function(lambda: len(self._running))

    def __repr__(self) -> str:
        return f"AnsweringStage({len(self._running)} attempts running)"

    def attach(self, source: BatchSource) -> None:
        """Says who reads for this stage."""
        self._source = source

    # The listener of the source; called on its thread, never while a batch is handled.

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        offsets = committed_offsets(consumer, partitions, 0)
        starts = {p.partition: offset for p, offset in zip(partitions, offsets, strict=True)}
        folds = {number: OpenMessages(offset) for number, offset in starts.items()}
        reached = dict(starts)
        for number, messages, next_offset in read_to_end(EVENTS.name, starts, self._options):
            for message in messages:
                folds[number].take_or_pass(self._decoded_at_last(message), message.offset())
            reached[number] = next_offset
        self._loop.call_soon_threadsafe(
            self._take_over, {p: folds[p.partition] for p in partitions}
        )
        return [reached[p.partition] for p in partitions]

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        asyncio.run_coroutine_threadsafe(self._let_go(set(partitions)), self._loop).result()

    @property
    def away(self) -> bool:
        return False  # each attempt waits by itself

    def wake_at_us(self) -> int | None:
        return self._commit_at_us

    async def handle(self, batch: Batch) -> None:
        """Starts and stops attempts as the events say; never waits for one."""
        try:
            # All of it before any of it counts: the batch comes again if the registry is away.
            await self._decoder.prepare(chain.from_iterable(batch.messages.values()))
            events = {p: list(map(self._decoded, m)) for p, m in batch.messages.items()}
        except Unavailable as error:
            raise Rewind(str(error)) from error
        for partition, messages in batch.messages.items():
            fold = self._partitions[partition]
            for message, event in zip(messages, events[partition], strict=True):
                self._times.note(event)
                self._follow(partition, fold.take_or_pass(event, message.offset()))
        self._metrics.records.labels(NAME).inc(batch.size)
        await self._commit()

    def _decoded(self, message: Message) -> Event | None:
        """The event, if it is one that matters here."""
        try:
            delivery = self._decoder.decode(message)
        except Invalid as error:
            # Analysis and the projections read the same topic and put it aside.
            log.error("answering passes a record over: %s", error.code)
            return None
        if delivery is None:
            return None
        event: Event = delivery.record
        self._desk.history.remember(event)
        return event

    def _decoded_at_last(self, message: Message) -> Event | None:
        backoff = Backoff(most_s=1.0)
        while not self._source.stopping:
            try:
                return self._decoded(message)
            except Unavailable as error:
                log.warning("answering can't begin: %s", error)
                time.sleep(backoff.next_s())
        return None  # nothing is committed any more

    def _take_over(self, folds: dict[TopicPartition, OpenMessages]) -> None:
        self._partitions.update(folds)
        for partition, fold in folds.items():
            for message in fold.begun():
                self._times.begun(message)
                self._start(partition, message, self._restart)

    def _follow(self, partition: TopicPartition, step: Begin | End | None) -> None:
        match step:
            case Begin(message):
                assert message.turn is not None
                self._times.begun(message)
                self._cancel(message.turn.turn_id)
                self._start(partition, message, self._attempt)
            case End(turn_id):
                self._cancel(turn_id)
                self._lost_provider.discard(turn_id)
            case None:
                pass

    def _start(self, partition: TopicPartition, message: OpenMessage, work: Work) -> None:
        """Lets something be done about a turn, until it is done or the log says otherwise."""
        assert message.turn is not None
        task = self._loop.create_task(self._watched(message, work))
        self._running[message.turn.turn_id] = (partition, task)

    async def _watched(self, message: OpenMessage, work: Work) -> None:
        assert message.turn is not None
        turn_id = message.turn.turn_id
        try:
            await work(message)
        except StageLost as error:
            await self._source.crash(error)
        if self._running.get(turn_id, (None, None))[1] is asyncio.current_task():
            del self._running[turn_id]

    async def _restart(self, message: OpenMessage) -> None:
        """Asks for a new attempt at a turn that another worker may have been answering."""
        turn = message.turn
        assert turn is not None
        command = restart(turn, message.attempt + 1, turn.envelope.traceparent)
        await report(self._desk, command)

    async def _attempt(self, message: OpenMessage) -> None:
        assert message.turn is not None
        turn_id = message.turn.turn_id
        async with self._room:
            attempt = Attempt(
                self._desk,
                message,
                fallback=turn_id in self._lost_provider,
                on_interrupted=lambda: self._lost_provider.add(turn_id),
            )
            await attempt.run()

    def _cancel(self, turn_id: str) -> None:
        _, task = self._running.pop(turn_id, (None, None))
        if task is not None:
            task.cancel()

    async def _let_go(self, partitions: set[TopicPartition]) -> None:
        """Stops the attempts of partitions that somebody else will answer."""
        for turn_id, (partition, _) in list(self._running.items()):
            if partition in partitions:
                self._cancel(turn_id)
                self._lost_provider.discard(turn_id)
        for partition in partitions:
            fold = self._partitions.pop(partition, None)
            self._times.forget(() if fold is None else fold.begun())
            self._committed.pop(partition, None)

    async def _commit(self) -> None:
        now_us = time.time_ns() // 1000
        if self._commit_at_us is None:
            self._commit_at_us = now_us + COMMIT_EVERY_US
        if now_us < self._commit_at_us:
            return
        self._commit_at_us = None
        done = {
            p: offset
            for p, fold in self._partitions.items()
            if (offset := fold.committable) > self._committed.get(p, 0)
        }
        if not done:
            return
        try:
            offsets = [Assigned(*p, offset) for p, offset in done.items()]
            await self._source.call(lambda c: c.commit(offsets=offsets, asynchronous=False))
        except KafkaException as error:
            # The next commit says the same and more, and comes though nothing more is read.
            log.info("a commit waits: %s", error.args[0].str())
            self._commit_at_us = now_us + COMMIT_EVERY_US
            return
        self._committed.update(done)
        for partition, offset in done.items():
            self._metrics.committed.labels(NAME, *map(str, partition)).set(offset)
        self._metrics.last_commit.labels(NAME).set_to_current_time()
