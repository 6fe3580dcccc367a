"""What the engine gives a sink and asks of it. Consumers and offsets are the engine's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from schemas.topics import Topic


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One consumed record, decoded."""

    topic: str
    partition: int
    offset: int
    schema_id: int
    record: Any
    key: bytes
    traceparent: str | None

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a sink stands in a partition: the next offset to read, and a note of its own.

    The engine keeps it as the group's committed offset and commit metadata.
    """

    offset: int
    note: str = ""


Commit = Callable[[Position], Awaitable[None]]
"""Commits a position of the partition that is being written, and returns when it is durable."""


class Sink(Protocol):
    """A projection of the log.

    The engine calls `assigned` before the first batch of a partition, then `write` with the
    records of one partition at a time, in offset order, one call at a time per partition, and
    commits the position that comes back. After a crash the records since the last committed
    position arrive again, so a write is idempotent. `Unavailable` from either means: again later,
    and meanwhile no more of this partition is read than fits; `Invalid` from `write` is a defect,
    since poison never gets here.
    """

    name: str
    topics: tuple[Topic, ...]
    batch_records_max: int
    batch_wait_ms: int
    """How long the engine may collect a batch; 0 takes what is there."""
    commit_every_ms: int
    """How rarely the engine may commit; 0 commits each position that comes back. A sink that keeps
    its own positions needs the committed ones only to show its lag."""

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        """Where to begin each partition. Partitions left out begin at their committed position."""
        ...

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        """Makes the batch, or the front of it, durable and says the position to commit.

        Records at or after that position come again with the next batch, joined by newer ones,
        so a sink that needs more at once takes a part, or nothing yet. `commit` makes a position
        durable at once, for a sink that must leave a note before it writes.
        """
        ...

    async def check(self) -> Mapping[TopicPartition, Position]:
        """Asked now and then, never during a write: where to go back to, for partitions whose
        tail was lost on the other side. Raises `Unavailable`."""
        ...

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """The partitions belong to another worker from now on."""
        ...
