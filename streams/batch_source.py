"""Reads batches with librdkafka on a thread of its own and hands them to an agent, one at a time.

One thread makes every call to the consumer, and callbacks run on it. What a stage must do at a
rebalance it does through `Listener`; what becomes of a batch it says by settling it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as Assigned
from mode import Service

from infra.telemetry.metrics import Metrics
from schemas.failures import Unavailable
from sinks.port import TopicPartition
from streams.backoff import Backoff
from streams.batch import Batch, Rewind
from streams.messages import by_partition, is_record

T = TypeVar("T")
log = logging.getLogger(__name__)

BEGINNING = -2
POLL_S = 0.1
SAY_AGAIN_S = 30.0
ABORTED = ("kafka", "rebalanced", "unavailable")
"""Why a batch has to be read again, as the metric says it."""


class Listener(Protocol):
    """What a stage does at a rebalance. Called on the source's thread, between batches."""

    @property
    def away(self) -> bool:
        """Whether something that the stage needs is away, so that no progress is no fault."""
        ...

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        """Takes partitions over and says the offset to begin each at (`BEGINNING` for none)."""
        ...

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Lets partitions go. `lost`: another worker may already have them."""
        ...

    def wake_at_us(self) -> int | None:
        """When the stage next needs an empty batch, in microseconds since 1970."""
        ...


class BatchSource(Service):  # type: ignore[misc]  # Faust's services are untyped
    """A Faust service that owns one consumer and its thread."""

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        topics: Sequence[str],
        listener: Listener,
        deliver: Callable[[Batch], Coroutine[Any, Any, Any]],
        *,
        batch_max: int,
        commits_late: bool = False,
        pace_ms: int = 0,
        metrics: Metrics | None = None,
        **service_options: Any,
    ) -> None:
        super().__init__(**service_options)
        self.name = name
        self._options = options
        self._topics = list(topics)
        self._listener = listener
        self._deliver = deliver
        self._batch_max = batch_max
        self._pace_s = pace_ms / 1000
        self._not_before = 0.0
        self._events: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._rebalanced = False
        self._backoff = Backoff()
        self._resume_at = 0.0
        self._excused_until = -math.inf
        self.rebalancing = False
        """Whether partitions come or go, which may take as long as a restore."""
        self._say_away_at = 0.0
        self._owned: set[TopicPartition] = set()
        self._held: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._handed: frozenset[TopicPartition] = frozenset()
        self._commits_late = commits_late
        self._thread = threading.Thread(target=self._run, name=f"source-{name}", daemon=True)
        self._ended: asyncio.Event = asyncio.Event()
        metrics = metrics or Metrics()
        self._lag = metrics.lag
        self._aborted = {why: metrics.aborted.labels(name, why) for why in ABORTED}
        metrics.partitions.labels(name).set_function(lambda: len(self._owned))

    def __repr__(self) -> str:
        return f"BatchSource({self.name})"

    async def on_start(self) -> None:
        """Starts the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def on_stop(self) -> None:
        """Lets the batch in flight end, leaves the group and waits for the thread."""
        self._stopping.set()
        self._events.put(_nothing)
        await self._ended.wait()

    async def call(self, function: Callable[[Consumer], T]) -> T:
        """Runs `function` with the consumer on its thread, also while a batch is in flight."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return  # whoever asked has given up
            try:
                result = function(self._consumer)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._events.put(run)
        return await asyncio.wrap_future(future)

    @property
    def held(self) -> frozenset[TopicPartition]:
        """The partitions of which nothing is read, at the stage's wish."""
        return frozenset(self._held)

    async def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Reads nothing of these from now on, and again of others that were held before."""

        def change(consumer: Consumer) -> None:
            held = self._owned.intersection(partitions)
            consumer.resume([Assigned(*p) for p in self._held - held])
            consumer.pause([Assigned(*p) for p in held])
            self._held = held

        await self.call(change)

    @property
    def stopping(self) -> bool:
        """Whether nothing more will be handed over."""
        return self._stopping.is_set()

    @property
    def owned(self) -> frozenset[TopicPartition]:
        """The partitions that this process has at the moment."""
        return frozenset(self._owned)

    @property
    def paused(self) -> bool:
        """Whether it waits to read a batch again, or its stage for something other than Kafka."""
        return bool(self._resume_at) or self._listener.away

    def was_excused(self, since: float) -> bool:
        """Whether that something was what the stage needs, at a moment since (monotonic seconds).

        Waiting for Kafka alone is no excuse.
        """
        return self._listener.away or self._excused_until >= since

    def progress(self, partition: TopicPartition, committed: int) -> int:
        """How far the stage is done with a partition, given its committed offset.

        Once every record that was read is done, that is the end which was read up to: it can be
        a transaction's marker, which no commit ever reaches. A stage that `commits_late` is done
        with what it has taken in, since its work may take long.
        """
        read = self._read.get(partition, 0)
        done = read if self._commits_late else committed
        if done < read or partition in self._handed:
            # The end may have been read together with a batch that is still worked on.
            return done
        return max(done, self._ends.get(partition, done))

    # From here on everything runs on the source's thread.

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._join()
            while not self._stopping.is_set():
                self._drain_events()
                self._step()
        except BaseException as error:
            failure = error
        try:
            if failure is None:
                self._consumer.close()  # revokes what is owned, through the listener
        except BaseException as error:
            failure = error
        self._loop.call_soon_threadsafe(self._finish, failure)

    def _join(self) -> None:
        self._consumer = Consumer({**self._options, "error_cb": self._heard}, logger=log)
        self._consumer.subscribe(
            self._topics,
            on_assign=self._on_assign,
            on_revoke=lambda c, parts: self._on_revoke(c, parts, lost=False),
            on_lost=lambda c, parts: self._on_revoke(c, parts, lost=True),
        )

    def _heard(self, error: KafkaError) -> None:
        now = time.monotonic()
        if error.code() == KafkaError._ALL_BROKERS_DOWN and now >= self._say_away_at:
            # librdkafka tells of it at every try.
            self._say_away_at = now + SAY_AGAIN_S
            log.warning("%s: Kafka is away; it goes on when Kafka is back", self.name)

    def _finish(self, failure: BaseException | None) -> None:
        self._ended.set()
        if failure is not None:
            log.error("%s ends: %s: %s", self.name, type(failure).__name__, failure)
            self._crashing = asyncio.ensure_future(self.crash(failure))

    def _step(self) -> None:
        if self._resume_at:
            self._wait_paused()
            return
        metadata = self._consumer.consumer_group_metadata()
        self._rebalanced = False
        messages = self._poll()
        if self._rebalanced:
            # The records may belong to another worker by now; whoever has them reads them again.
            self._seek_back(by_partition(messages))
            if messages:
                self._aborted["rebalanced"].inc()
            return
        if messages or self._is_due():
            self._hand_over(Batch(by_partition(messages), metadata, time.time_ns() // 1000))

    def _poll(self) -> list[Message]:
        first = self._consumer.poll(self._poll_s())
        if first is None:
            return []
        self._keep_pace()
        # `consume` with a timeout would wait for a full batch; with 0 it takes what is there.
        rest = self._consumer.consume(self._batch_max - 1, 0) if self._batch_max > 1 else []
        messages = [m for m in (first, *rest) if m.error() is None or self._is_record(m)]
        self._not_before = time.monotonic() + self._pace_s if len(messages) > 1 else 0.0
        return messages

    def _keep_pace(self) -> None:
        """After a batch of several records, lets a few more come together for the next.

        A batch costs a transaction and wakes every reader, however small it is; who comes alone
        never waits here.
        """
        wait_s = self._not_before - time.monotonic()
        if wait_s > 0:
            self._stopping.wait(wait_s)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            self._ends[TopicPartition(message.topic(), message.partition())] = message.offset()
            return False
        return is_record(message)

    def _poll_s(self) -> float:
        wake_at_us = self._listener.wake_at_us()
        if wake_at_us is None:
            return POLL_S
        return min(POLL_S, max(0.0, wake_at_us / 1e6 - time.time()))

    def _is_due(self) -> bool:
        wake_at_us = self._listener.wake_at_us()
        return wake_at_us is not None and wake_at_us <= time.time_ns() // 1000

    def _hand_over(self, batch: Batch) -> None:
        self._handed = frozenset(batch.messages)
        self._work_off(batch)
        self._handed = frozenset()
        match batch.outcome:
            case None:
                self._backoff.reset()
                for partition, records in batch.messages.items():
                    self._read[partition] = records[-1].offset() + 1
                self._seek_back(batch.rest)
            case Rewind() as again:
                reason = self._reason(again)
                self._aborted[reason].inc()
                self._pause(batch)
                if reason == "unavailable":
                    self._excused_until = self._resume_at
            case outcome:
                raise outcome

    def _work_off(self, batch: Batch) -> None:
        """Returns once the batch is settled; answers calls meanwhile."""
        asyncio.run_coroutine_threadsafe(self._deliver(batch), self._loop)
        while not batch.settled:
            self._events.get()()

    def _reason(self, again: Rewind) -> str:
        if self._listener.away or isinstance(again.__cause__, Unavailable):
            return "unavailable"
        return "kafka" if self._owned else "rebalanced"

    def settle(self, batch: Batch, outcome: BaseException | None) -> None:
        """Ends a batch, from any thread."""
        batch.settle(outcome)
        self._events.put(_nothing)

    def _pause(self, batch: Batch) -> None:
        self._seek_back({**batch.rest, **batch.messages})
        self._consumer.pause([Assigned(*p) for p in self._owned])
        wait_s = self._backoff.next_s()
        self._resume_at = time.monotonic() + wait_s
        log.warning("%s waits %.1f s: %s", self.name, wait_s, batch.outcome)

    def _wait_paused(self) -> None:
        """Keeps the membership alive, and goes on when the pause is over."""
        left = self._resume_at - time.monotonic()
        if left > 0:
            message = self._consumer.poll(min(left, 0.1))
            if message is not None and self._is_record(message):
                self._seek_back(by_partition([message]))
            return
        self._resume_at = 0.0
        self._consumer.resume([Assigned(*p) for p in self._owned - self._held])

    def _seek_back(self, messages: dict[TopicPartition, list[Message]]) -> None:
        for partition, records in messages.items():
            # The end comes again behind them.
            self._ends.pop(partition, None)
            if partition in self._owned:
                self._consumer.seek(Assigned(*partition, records[0].offset()))

    def _drain_events(self) -> None:
        while not self._events.empty():
            self._events.get()()

    def _on_assign(self, consumer: Consumer, partitions: list[Assigned]) -> None:
        self._rebalanced = True
        taken = [TopicPartition(p.topic, p.partition) for p in partitions]
        with self._rebalance():
            offsets = self._listener.assigned(consumer, taken)
        self._owned.update(taken)
        consumer.incremental_assign(
            [Assigned(*p, offset) for p, offset in zip(taken, offsets, strict=True)]
        )
        if taken:
            log.info("%s takes %s", self.name, _listed(taken))
        if self._resume_at:
            consumer.pause([Assigned(*p) for p in self._owned])

    @contextmanager
    def _rebalance(self) -> Iterator[None]:
        self.rebalancing = True
        try:
            yield
        finally:
            self.rebalancing = False

    def _on_revoke(self, consumer: Consumer, partitions: list[Assigned], *, lost: bool) -> None:
        self._rebalanced = True
        gone = [TopicPartition(p.topic, p.partition) for p in partitions]
        self._owned.difference_update(gone)
        for partition in gone:
            self._ends.pop(partition, None)
            self._read.pop(partition, None)
            # Its lag is another worker's from now on, and would be counted twice.
            self._lag.remove(self.name, *map(str, partition))
        # One that goes paused, whyever, would be so when it comes back.
        consumer.resume([Assigned(*p) for p in gone])
        self._held.difference_update(gone)
        with self._rebalance():
            self._listener.revoked(gone, lost=lost)
        consumer.incremental_unassign(partitions)
        if gone:
            log.info("%s %s %s", self.name, "lost" if lost else "gives up", _listed(gone))


def _listed(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(f"{p.topic}[{p.partition}]" for p in sorted(partitions))


def _nothing() -> None:
    """Wakes the thread."""
