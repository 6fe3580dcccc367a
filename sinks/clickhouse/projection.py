"""The sink that writes events into ClickHouse, once each (`sinks.port.Sink`).

The order of commits and inserts is `sinks.clickhouse.ranges`; consumers, batches and retries are
the engine's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from infra.clickhouse.errors import ClickHouseDataInvalid
from infra.clickhouse.port import ClickHouse, Value
from schemas.failures import Invalid
from schemas.topics import EVENTS, Topic
from sinks.clickhouse.columns import EVENT_COLUMNS, TEXT_COLUMNS, Row, table_of
from sinks.clickhouse.ranges import (
    SKIPPED_MAX,
    Declare,
    Range,
    Wait,
    Write,
    next_step,
    pending_range,
)
from sinks.clickhouse.rows import (
    OpenText,
    PrefetchKeys,
    RetentionDays,
    event_row,
    redacted_text,
    text_row,
)
from sinks.port import Commit, Delivery, Position, TopicPartition

log = logging.getLogger(__name__)

DeadLetter = Callable[[Delivery, Invalid], Awaitable[None]]
"""Keeps a record that can't be a row, and returns when it is safe."""

_INSERT: Mapping[str, Value] = {
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # Servers differ in their defaults, and an asynchronous insert is not there when it returns.
    "async_insert": 0,
    # A backlog may span any number of days.
    "max_partitions_per_insert_block": 0,
}
_MISFIT = (pa.ArrowException, ClickHouseDataInvalid, OverflowError)
"""What it looks like when a value does not fit its column, here or there."""


def ninety_days(_: str) -> int:
    """The retention of tenants that have not chosen one."""
    return 90


def as_they_are_opened(_: object) -> None:
    """Gets no key beforehand: each text asks for its own."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a range, ready to insert."""

    events: pa.Table
    texts: pa.Table


class ClickHouseSink:
    """Writes the events topic into `events` and `event_texts` (`sinks.port.Sink`)."""

    name = "clickhouse"
    topics: tuple[Topic, ...] = (EVENTS,)
    commit_every_ms = 0

    def __init__(
        self,
        clickhouse: ClickHouse,
        open_text: OpenText,
        dead_letter: DeadLetter,
        *,
        prefetch_keys: PrefetchKeys = as_they_are_opened,
        retention_days: RetentionDays = ninety_days,
        database: str = "parley",
        generation: int = 1,
        batch_records_max: int = 10_000,
        batch_wait_ms: int = 2000,
    ) -> None:
        """The database must be migrated. `generation` rises with every rebuild."""
        self._clickhouse = clickhouse
        self._open_text = open_text
        self._dead_letter = dead_letter
        self._prefetch_keys = prefetch_keys
        self._retention_days = retention_days
        self._database = database
        self._generation = generation
        self.batch_records_max = batch_records_max
        self.batch_wait_ms = batch_wait_ms
        self._pending: dict[TopicPartition, Range] = {}
        self._declared: dict[TopicPartition, Range] = {}
        self._settled: dict[TopicPartition, int] = {}

    def __repr__(self) -> str:
        return f"ClickHouseSink({self._database}, generation {self._generation})"

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        """Learns which ranges are in doubt. Raises `NoteForeign` if a note is not ours."""
        for source, position in committed.items():
            self._forget(source)
            pending = pending_range(position.note, self._generation) if position else None
            if pending is not None:
                self._pending[source] = self._declared[source] = pending
                # Settings may have changed since, but the range must fit into one batch.
                span = pending.last - pending.first + 1
                self.batch_records_max = max(self.batch_records_max, span)
                log.info("%s/%d: range %s is in doubt", *source, pending.note)
        return {}

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        """Makes one range durable, or waits for the rest of it.

        Raises `Unavailable` while ClickHouse or the key store is away; the next call goes on with
        the same range.
        """
        # If the engine could not commit what came back last time, the same records come again.
        settled = self._settled.get(source, 0)
        batch = [delivery for delivery in batch if delivery.offset >= settled]
        if not batch:
            return Position(settled)
        pending = self._pending.get(source)
        offsets = [delivery.offset for delivery in batch]
        step = next_step(pending, offsets, self._generation, self.batch_records_max)
        if isinstance(step, Declare):
            # Kept before it is committed: after an uncertain commit the range is the same again.
            pending = self._pending[source] = step.range
            step = Write(pending, len(offsets[: self.batch_records_max]))
        if isinstance(step, Wait):
            return Position(batch[0].offset, pending.note if pending else "")
        await self._declare(source, step.range, commit)
        await self._write(source, step.range, batch[: step.count], commit)
        self._forget(source)
        settled = self._settled[source] = step.range.last + 1
        return Position(settled)

    async def check(self) -> Mapping[TopicPartition, Position]:
        """Nowhere: the positions are Kafka's, and ClickHouse keeps what it was given."""
        return {}

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets the partitions; the notes in Kafka tell their next owner all there is."""
        for source in partitions:
            self._forget(source)

    async def _declare(self, source: TopicPartition, wanted: Range, commit: Commit) -> None:
        if self._declared.get(source) != wanted:
            await commit(Position(wanted.first, wanted.note))
            self._pending[source] = self._declared[source] = wanted

    async def _write(
        self, source: TopicPartition, wanted: Range, records: Sequence[Delivery], commit: Commit
    ) -> None:
        kept = [d for d in records if d.offset >= wanted.first and d.offset not in wanted.skipped]
        try:
            await asyncio.to_thread(self._insert, source, wanted, self._batch, kept)
        except (*_MISFIT, Invalid):
            bad = await self._set_aside(kept)
            skipped = tuple(sorted({*wanted.skipped, *bad}))
            if len(skipped) > SKIPPED_MAX or not bad:
                raise
            narrowed = replace(wanted, skipped=skipped)
            await self._declare(source, narrowed, commit)
            kept = [d for d in kept if d.offset not in bad]
            await asyncio.to_thread(self._insert, source, narrowed, self._batch, kept)

    def _insert(
        self,
        source: TopicPartition,
        wanted: Range,
        batch_of: Callable[[Sequence[Delivery]], _Batch],
        records: Sequence[Delivery],
    ) -> None:
        """Inserts both tables; on a thread, since opening texts and inserting block."""
        batch = batch_of(records)
        token = wanted.token(f"{self.name}-{self._database}", *source)
        settings = {**_INSERT, "insert_deduplication_token": token}
        self._clickhouse.insert_arrow(f"{self._database}.events", batch.events, settings)
        if batch.texts.num_rows:
            self._clickhouse.insert_arrow(f"{self._database}.event_texts", batch.texts, settings)

    def _batch(self, records: Sequence[Delivery]) -> _Batch:
        self._prefetch_keys(
            (delivery.record.envelope.tenant_id, sealed)
            for delivery in records
            if (sealed := redacted_text(delivery.record)) is not None
        )
        texts: list[Row] = [
            row
            for delivery in records
            if (row := text_row(delivery, self._open_text, self._retention_days)) is not None
        ]
        events = table_of([event_row(delivery) for delivery in records], EVENT_COLUMNS)
        return _Batch(events, table_of(texts, TEXT_COLUMNS))

    async def _set_aside(self, records: Sequence[Delivery]) -> list[int]:
        """Finds the records that can't be rows and keeps them as dead letters."""
        found = await asyncio.to_thread(lambda: list(self._misfits(records)))
        if len(found) > SKIPPED_MAX:
            return []  # then it is not the records that are wrong
        for delivery, why in found:
            log.error("%s/%d: offset %d can't be a row: %s", *delivery.source, delivery.offset, why)
            await self._dead_letter(delivery, why)
        return [delivery.offset for delivery, _ in found]

    def _misfits(self, records: Sequence[Delivery]) -> Iterator[tuple[Delivery, Invalid]]:
        """Halves the records until those that don't fit stand alone."""
        try:
            batch = self._batch(records)
            # A table without storage: it takes what the real one would, and leaves no trace.
            self._clickhouse.insert_arrow(f"{self._database}.events_trial", batch.events)
            if batch.texts.num_rows:
                self._clickhouse.insert_arrow(f"{self._database}.event_texts_trial", batch.texts)
        except (*_MISFIT, Invalid) as error:
            if len(records) == 1:
                why = error if isinstance(error, Invalid) else _misfit(error)
                yield records[0], why
                return
            middle = len(records) // 2
            yield from self._misfits(records[:middle])
            yield from self._misfits(records[middle:])

    def _forget(self, source: TopicPartition) -> None:
        self._pending.pop(source, None)
        self._declared.pop(source, None)
        self._settled.pop(source, None)


def _misfit(error: Exception) -> Invalid:
    # The error's own words may quote a value, so only its kind is passed on.
    code = f" {error.code}" if isinstance(error, ClickHouseDataInvalid) else ""
    return Invalid("no_row", f"a value does not fit its column: {type(error).__name__}{code}")
