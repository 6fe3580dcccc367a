"""A stage whose reading, state and writing change together: a transaction for each partition."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import Consumer, Message

from infra.telemetry.metrics import Metrics
from schemas.failures import Invalid, Unavailable
from sinks.port import Delivery, TopicPartition
from streams.batch import Batch, Rewind, StageLost
from streams.batch_source import BEGINNING
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.positions import committed_offsets
from streams.transactions import Outgoing, Transactions

log = logging.getLogger(__name__)


GRACE_S = 2.0


@dataclass(slots=True)
class Work:
    """What a transform made of one partition's records."""

    outputs: list[Outgoing] = field(default_factory=list)
    poison: list[tuple[Delivery, Invalid]] = field(default_factory=list)
    spans: ExitStack = field(default_factory=ExitStack)
    """Spans that end when the work is committed, or is not."""
    state: Any = None
    """The transform's own note of what changes once the transaction is committed."""


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
        self, records: Mapping[TopicPartition, Sequence[Delivery]], now_us: int
    ) -> Mapping[TopicPartition, Work]:
        """The work of a batch. May name owned partitions that have no record in it."""
        ...

    def committed(self, partition: TopicPartition, work: Work) -> None:
        """The work is in the log."""
        ...

    def wake_at_us(self) -> int | None:
        """When it wants to be called without records, in microseconds since 1970."""
        ...


class TransactionalStage:
    """Runs a transform over batches: decode, apply, commit partition by partition."""

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
        self._committers = ThreadPoolExecutor(8, f"commit-{name}")

    def __repr__(self) -> str:
        return f"TransactionalStage({self.name})"

    async def handle(self, batch: Batch) -> None:
        """Handles one batch. Raises `Rewind` with the batch cut down to what must come again.

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
        return self._transform.wake_at_us()

    def _handle(self, batch: Batch) -> None:
        began = time.monotonic()
        try:
            works = self._apply(batch)
        except Unavailable as error:
            raise Rewind(str(error)) from error
        self._commit(batch, works)
        self._observe(batch, time.monotonic() - began)

    def _apply(self, batch: Batch) -> dict[TopicPartition, Work]:
        records: dict[TopicPartition, list[Delivery]] = {}
        letters: dict[TopicPartition, list[Outgoing]] = {}
        for partition, messages in batch.messages.items():
            kept = records[partition] = []
            for message in messages:
                try:
                    delivery = self._decoder.decode(message)
                    if delivery is not None:
                        kept.append(delivery)
                except Invalid as error:
                    letter = self._dead_letters.letter(message, error)
                    letters.setdefault(partition, []).append(letter)
        works = dict(self._transform.apply(records, batch.polled_at_us))
        for partition in batch.messages:
            work = works.setdefault(partition, Work())
            work.outputs += letters.get(partition, ())
            work.outputs += self._letters(batch.messages[partition], work.poison)
        return works

    def _letters(
        self, messages: Sequence[Message], poison: Sequence[tuple[Delivery, Invalid]]
    ) -> list[Outgoing]:
        if not poison:
            return []
        by_offset = {message.offset(): message for message in messages}
        return [self._dead_letters.letter(by_offset[d.offset], error) for d, error in poison]

    def _commit(self, batch: Batch, works: Mapping[TopicPartition, Work]) -> None:
        """Commits each partition by itself, side by side; what failed is left in the batch."""
        if len(works) == 1:
            (only,) = works
            self._commit_partition(batch, only, works[only])
            return
        commits: dict[TopicPartition, Future[None]] = {
            p: self._committers.submit(self._commit_partition, batch, p, work)
            for p, work in works.items()
        }
        failures = {p: error for p, c in commits.items() if (error := c.exception()) is not None}
        for error in failures.values():
            if not isinstance(error, Rewind):
                raise error
        if failures:
            batch.messages = {p: m for p, m in batch.messages.items() if p in failures}
            raise next(iter(failures.values()))

    def _commit_partition(self, batch: Batch, partition: TopicPartition, work: Work) -> None:
        messages = batch.messages.get(partition)
        with work.spans:
            if messages:
                next_offset = messages[-1].offset() + 1
                self._transactions.commit(
                    partition, work.outputs, next_offset, batch.group_metadata
                )
                self._metrics.committed.labels(self.name, *map(str, partition)).set(next_offset)
            elif work.outputs:
                self._transactions.write(partition, work.outputs)
        self._transform.committed(partition, work)

    def _observe(self, batch: Batch, seconds: float) -> None:
        metrics = self._metrics
        metrics.records.labels(self.name).inc(batch.size)
        metrics.batch_records.labels(self.name).observe(batch.size)
        metrics.batch_seconds.labels(self.name).observe(seconds)
        metrics.last_commit.labels(self.name).set_to_current_time()
