"""The Redis projection as the engine sees it: partitions come and go, batches are written.

Redis owns its offsets. They are stored beside what they stand for, so a Redis that lost its tail
asks for exactly what it is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from schemas.topics import EVENTS, TOKENS, Topic
from sinks.port import Commit, Delivery, Position, TopicPartition
from sinks.redis.events import EventProjection
from sinks.redis.keys import EPOCH, offset_key
from sinks.redis.line import Line
from sinks.redis.meter import Meter, NoMeter
from sinks.redis.partition import ForeignLog, Partition, TailLost
from sinks.redis.pieces import PieceProjection
from sinks.redis.scripts import Scripts, redis_failures, run
from sinks.redis.texts import Opener

log = logging.getLogger(__name__)


class RedisSink:
    """Folds events and streamed text into the read models of frontends (`sinks.port.Sink`).

    `epoch` is the id of the events topic, as Kafka's admin client gives it. Offsets of another
    epoch are forgotten at the first `assigned`, and conversations of it as their first event
    comes. Another epoch that is found in Redis later is a newer log's: `assigned`, `write` and
    `check` then raise `ForeignLog`, since only a process that starts again learns the new id.

    `write` may answer with a position before its batch, when Redis was emptied or rolled back
    under it: the engine must go on from there.
    """

    name = "redis"
    topics: tuple[Topic, ...] = (EVENTS, TOKENS)
    batch_records_max = 500
    batch_wait_ms = 0
    commit_every_ms = 1000

    def __init__(
        self, redis: Redis, opener: Opener, *, epoch: str, meter: Meter | None = None
    ) -> None:
        self._line = Line(redis)
        self._scripts = Scripts()
        self._epoch = epoch.encode()
        self._meter = meter or NoMeter()
        parts = (self._line, self._scripts, opener, self._epoch, self._meter)
        self._events = EventProjection(*parts)
        self._pieces = PieceProjection(*parts)
        self._partitions: dict[TopicPartition, Partition] = {}
        self._has_claimed = False

    def __repr__(self) -> str:
        return f"RedisSink({len(self._partitions)} partitions, epoch {self._epoch.decode()})"

    @property
    def trouble(self) -> str | None:
        """Why this sink is not ready, in a sentence; None when it is."""
        stopped = [pair for p in self._partitions.values() for pair in p.stopped.items()]
        if not stopped:
            return None
        (tenant, conversation), missing = stopped[0]
        return (
            f"{len(stopped)} conversations stand still in Redis, since events are missing; the "
            f"first is {tenant}:{conversation}, event {missing}"
        )

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        """Where Redis stands in each partition, whatever the group has committed."""
        positions = await self._claim(list(committed))
        for source, position in positions.items():
            group = committed[source]
            if group is not None and group.offset != position.offset:
                log.info(
                    "%s/%d: Redis stands at %d, its group at %d; Redis decides",
                    source.topic,
                    source.partition,
                    position.offset,
                    group.offset,
                )
        return positions

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        """Applies a batch. Raises `Unavailable` while Redis or the key store is away."""
        partition = self._partitions[source]
        if partition.is_ahead(batch[0].offset):
            return Position(partition.known)
        projection = self._events if source.topic == EVENTS.name else self._pieces
        try:
            await projection.apply(partition, batch)
        except TailLost as lost:
            log.warning("feeding Redis again: %s", lost)
            self._meter.tail_lost(*source)
            return (await self._claim_again([source]))[source]
        partition.known = batch[-1].offset + 1
        return Position(partition.known)

    async def check(self) -> Mapping[TopicPartition, Position]:
        """Where to go back to, for partitions that Redis lost the tail of while nothing came.

        Call it now and then, never during a `write`. Raises `Unavailable` and `ForeignLog`.
        """
        partitions = list(self._partitions.items())
        keys = [offset_key(*source) for source, _ in partitions]
        with redis_failures():
            epoch, *offsets = await self._line.ask_one(b"MGET", EPOCH, *keys)
        if self._has_claimed and epoch not in (None, self._epoch):
            raise ForeignLog(self)
        lost = [
            source
            for (source, partition), offset in zip(partitions, offsets, strict=True)
            if epoch is None or int(offset or -1) < partition.known
        ]
        for source in lost:
            log.warning("feeding Redis again: it lost the tail of %s/%d", *source)
            self._meter.tail_lost(*source)
        return await self._claim_again(lost) if lost else {}

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets the partitions."""
        for source in partitions:
            self._partitions.pop(source, None)

    async def _claim_again(
        self, lost: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Position]:
        reached = {source: self._partitions[source].known for source in lost}
        positions = await self._claim(lost)
        for source, offset in reached.items():
            if source.topic == EVENTS.name:  # older pieces of answers may have expired
                self._partitions[source].expect_again(offset)
        return positions

    async def _claim(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, Position]:
        every = [offset_key(t.name, p) for t in self.topics for p in range(t.partitions)]
        asked = [offset_key(*source) for source in sources]
        may_replace = not self._has_claimed
        call = self._scripts.claim(self._epoch, asked, every, may_replace=may_replace)
        ((word, *offsets),) = await run(self._line, [call])
        if word == b"foreign":
            raise ForeignLog(self)
        self._has_claimed = True
        for source, offset in zip(sources, offsets, strict=True):
            self._partitions[source] = Partition(*source, offset)
        return {source: Position(offset) for source, offset in zip(sources, offsets, strict=True)}
