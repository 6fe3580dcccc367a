"""A stage whose reading, state and writing change together: one transaction for each batch."""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import Consumer, Message

from infra.telemetry.metrics import Metrics
from schemas.failures import Invalid, Unavailable
from schemas.headers import Headers
from sinks.port import Delivery, TopicPartition
from streams.batch import Batch, StageLost
from streams.batch_source import BEGINNING
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.positions import committed_offsets
from streams.transactions import OnDelivery, Transaction, Transactions

log = logging.getLogger(__name__)


GRACE_S = 2.0
WORK_SHARE = 0.25
"""Of a transaction's time, for working on its batch. Writing it out takes the more of the rest the
more there is."""
PORTION = 256


class Send(Protocol):
    """Writes a record; the arguments are those of `Outgoing`."""

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Output:
    """Where a transform puts what a batch leads to. All of it takes effect together, or nothing."""

    send: Send
    poison: Callable[[Delivery, Invalid], None]
    """Puts a record aside that can't be handled."""
    spans: ExitStack = field(default_factory=ExitStack)
    """Spans that end when the batch is committed, or is not."""


class Transform(Protocol):
    """What a transactional stage does with records. Called on the stage's threads, one at a time.

    `Unavailable` means: the whole batch again, later.
    """

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes partitions over; their earlier owners can't write any more."""
        ...

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets what it knows of the partitions."""
        ...

    def apply(
        self, records: Mapping[TopicPartition, Iterable[Delivery]], now_us: int, out: Output
    ) -> Any:
        """Works a batch off, each partition's records once and in order. Returns its own note of
        what changes once that is committed."""
        ...

    def committed(self, changes: Any) -> None:
        """What `apply` noted is in the log."""
        ...

    def wake_at_us(self) -> int | None:
        """When it wants to be called without records, in microseconds since 1970."""
        ...


class TransactionalStage:
    """Runs a transform over batches: decode, apply, commit."""

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        transform: Transform,
        transactions: Transactions,
        dead_letters: DeadLetters,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self._decoder = decoder
        self._transform = transform
        self._transactions = transactions
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._worker = ThreadPoolExecutor(1, f"stage-{name}")

    def __repr__(self) -> str:
        return f"TransactionalStage({self.name})"

    async def handle(self, batch: Batch) -> None:
        """Handles one batch. Raises `Rewind` where it had no effect and must come again.

        Raises `StageLost` where that takes longer than a transaction may: librdkafka's calls can
        outlive their own timeouts when the broker dies under them.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._transactions.timeout_s + GRACE_S):
                await loop.run_in_executor(self._worker, self._handle, batch)
        except TimeoutError:
            raise StageLost(f"{self.name} had no answer from Kafka in a transaction") from None

    # The listener of the source; called on its thread, never while a batch is handled.

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        if not partitions:
            return []
        began = time.monotonic()
        self._transactions.open(partitions)
        self._transform.assigned(partitions)
        self._metrics.restore_seconds.labels(self.name).observe(time.monotonic() - began)
        return committed_offsets(consumer, partitions, BEGINNING)

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        self._transform.revoked(partitions)
        self._transactions.close(partitions)

    @property
    def away(self) -> bool:
        return False  # it says so by rewinding

    def wake_at_us(self) -> int | None:
        # An empty batch begins a transaction, which ends what is open; waiting for a record to come
        # could keep others waiting until the broker's timeout.
        return 0 if self._transactions.left_open else self._transform.wake_at_us()

    def _handle(self, batch: Batch) -> None:
        began = time.monotonic()
        transaction = self._transactions.begin()
        out = Output(
            transaction.send, lambda d, error: self._put_aside(batch, transaction, d, error)
        )
        with out.spans:
            try:
                until = began + self._transactions.timeout_s * WORK_SHARE
                portions = _Portions(batch, until)
                records = {p: self._decoded(portions.of(p), transaction) for p in batch.messages}
                changes = self._transform.apply(records, batch.polled_at_us, out)
            except Unavailable as error:
                raise transaction.abort(str(error)) from error
            offsets = {p: messages[-1].offset() + 1 for p, messages in batch.messages.items()}
            with self._metrics.commit_seconds.labels(self.name).time():
                transaction.commit(offsets, batch.group_metadata)
        self._transform.committed(changes)
        self._observe(batch, offsets, time.monotonic() - began)

    def _decoded(self, portions: Iterable[list[Message]], out: Transaction) -> Iterator[Delivery]:
        """Decodes a portion ahead: the same work in a row is a fifth faster than all in turn."""
        for portion in portions:
            deliveries, letters = self._dead_letters.sort(portion, self._decoder)
            for letter in letters:
                out.send(*letter)
            yield from deliveries

    def _put_aside(
        self, batch: Batch, transaction: Transaction, delivery: Delivery, error: Invalid
    ) -> None:
        messages = batch.messages[delivery.source]
        at = bisect_left(messages, delivery.offset, key=Message.offset)
        transaction.send(*self._dead_letters.letter(messages[at], error))

    def _observe(self, batch: Batch, offsets: Mapping[TopicPartition, int], seconds: float) -> None:
        metrics = self._metrics
        metrics.records.labels(self.name).inc(batch.size)
        metrics.batch_records.labels(self.name).observe(batch.size)
        metrics.batch_seconds.labels(self.name).observe(seconds)
        if offsets:
            metrics.last_commit.labels(self.name).set_to_current_time()
        for partition, offset in offsets.items():
            metrics.committed.labels(self.name, *map(str, partition)).set(offset)


class _Portions:
    """Cuts a batch up, and gives back what has not begun `until` then (monotonic seconds).

    A batch for which the time of a transaction is too short would otherwise be tried for ever.
    The first portion is done whatever it takes.
    """

    def __init__(self, batch: Batch, until: float) -> None:
        self._batch = batch
        self._until = until
        self._has_begun = False

    def of(self, partition: TopicPartition) -> Iterator[list[Message]]:
        """Those of a partition, in order."""
        messages = self._batch.messages[partition]
        for start in range(0, len(messages), PORTION):
            if self._has_begun and time.monotonic() > self._until:
                self._batch.give_back(partition, start)
                return
            self._has_begun = True
            yield messages[start : start + PORTION]
