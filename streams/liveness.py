"""Ends a process whose stages run but get nowhere: lag, and no offset committed for too long.

Waiting for something that is away is no fault; hanging in a call, or reading the same batch over
and over while Kafka answers, is one: a fresh process has a fresh client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Assigned

from infra.telemetry.metrics import Metrics
from sinks.port import TopicPartition
from streams.batch_source import BatchSource
from streams.positions import ENDS_S, LogEnds
from streams.worker import Worker

CHECK_EVERY_S = 5.0
ANSWER_S = 6.0


class _NoAnswer(Exception):
    """The source's thread is busy or hangs in a call, or its client does not get through."""


async def watch(worker: Worker, ends: LogEnds, metrics: Metrics, patience_s: float) -> str:
    """Publishes the lag of every stage; returns, with a sentence, when one is stuck."""
    watches = [_StageWatch(source, metrics, patience_s) for source in worker.sources.values()]
    while True:
        await asyncio.sleep(min(CHECK_EVERY_S, patience_s))
        owned = {place for source in worker.sources.values() for place in source.owned}
        try:
            async with asyncio.timeout(2 * ENDS_S):
                reached = await asyncio.to_thread(ends.of, owned)
        except (KafkaException, TimeoutError):
            reached = None
        for each in watches:
            stuck = await each.look(reached)
            if stuck:
                return stuck


class _StageWatch:
    """What is known of one stage: since when each of its partitions stands where it stands."""

    def __init__(self, source: BatchSource, metrics: Metrics, patience_s: float) -> None:
        self._source = source
        self._metrics = metrics
        self._patience_s = patience_s
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._heard_at = time.monotonic()

    async def look(self, ends: Mapping[TopicPartition, int] | None) -> str:
        """A sentence if the stage is stuck, else nothing. No `ends`: the broker is away."""
        if ends is None:
            return self._excused()
        try:
            done = await self._done(ends)
        except _NoAnswer:
            return self._excused() if self._source.rebalancing else self._silent()
        if self._source.was_excused(self._heard_at):
            return self._excused()
        self._heard_at = time.monotonic()
        return self._judged(done, ends)

    def _excused(self) -> str:
        """Nobody makes progress now, and it is nobody's fault: patience begins anew."""
        self._heard_at = time.monotonic()
        self._since.clear()
        return ""

    async def _done(self, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """How far the stage is done with each partition. Raises `_NoAnswer`."""
        source, metrics = self._source, self._metrics
        places = sorted(source.owned & ends.keys())

        def ask(consumer: Consumer) -> dict[TopicPartition, int]:
            done: dict[TopicPartition, int] = {}
            asked = [Assigned(*place) for place in places]
            for each in consumer.committed(asked, timeout=5.0) if asked else ():
                if each.error is not None:
                    continue
                place = TopicPartition(each.topic, each.partition)
                done[place] = source.progress(place, max(each.offset, 0))
                # Here, on the source's thread, where a partition that goes takes its lag along.
                if place in source.owned:
                    lag = max(0, ends[place] - done[place])
                    metrics.lag.labels(source.name, *map(str, place)).set(lag)
            return done

        try:
            async with asyncio.timeout(ANSWER_S):
                return await source.call(ask)
        except (KafkaException, TimeoutError):
            # Kafka has just answered somebody else.
            raise _NoAnswer from None

    def _silent(self) -> str:
        if time.monotonic() - self._heard_at <= self._patience_s:
            return ""
        return (
            f"{self._source.name} hangs in its Kafka client, "
            f"which has answered nothing for {self._patience_s:.0f} s"
        )

    def _judged(
        self, done: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> str:
        now = time.monotonic()
        # A partition that was away for a while starts anew.
        self._since = {place: known for place, known in self._since.items() if place in done}
        for place, reached in done.items():
            known, since = self._since.get(place, (-1, 0.0))
            if reached != known or reached >= ends[place]:
                self._since[place] = (reached, now)
            elif now - since > self._patience_s:
                return (
                    f"{self._source.name} has {ends[place] - reached} records before it on "
                    f"{place.topic}[{place.partition}] and committed none for "
                    f"{self._patience_s:.0f} s"
                )
        return ""
