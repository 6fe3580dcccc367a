"""Ends a process whose stages run but get nowhere: lag, and no offset committed for too long."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Assigned

from infra.telemetry.metrics import Metrics
from sinks.port import TopicPartition
from streams.batch_source import BatchSource
from streams.worker import Worker

CHECK_EVERY_S = 5.0
ANSWER_S = 6.0


async def watch(worker: Worker, metrics: Metrics, patience_s: float) -> str:
    """Publishes the lag of every stage; returns, with a sentence, when one is stuck."""
    moved_at: dict[tuple[str, TopicPartition], tuple[int, float]] = {}
    while True:
        await asyncio.sleep(min(CHECK_EVERY_S, patience_s))
        owned = {(s.name, place) for s in worker.sources.values() for place in s.owned}
        # A partition that was away for a while starts anew.
        moved_at = {key: since for key, since in moved_at.items() if key in owned}
        for source in worker.sources.values():
            for place, (committed, end) in (await _positions(source, metrics)).items():
                known, since = moved_at.get((source.name, place), (-1, 0.0))
                if committed != known or committed >= end or source.paused:
                    moved_at[source.name, place] = (committed, time.monotonic())
                elif time.monotonic() - since > patience_s:
                    return (
                        f"{source.name} has {end - committed} records before it on {place.topic}"
                        f"[{place.partition}] and committed none for {patience_s:.0f} s"
                    )


async def _positions(
    source: BatchSource, metrics: Metrics
) -> dict[TopicPartition, tuple[int, int]]:
    owned = sorted(source.owned)

    def ask(consumer: Consumer) -> dict[TopicPartition, tuple[int, int]]:
        found = {}
        for each in consumer.committed([Assigned(*p) for p in owned], timeout=5.0):
            place = TopicPartition(each.topic, each.partition)
            # The cached end costs no request; the fetcher keeps it fresh.
            _, end = consumer.get_watermark_offsets(each, cached=True)
            if end >= 0:
                committed = source.progress(place, max(each.offset, 0))
                found[place] = (committed, end)
                # Here, on the source's thread, where a partition that goes takes its lag along.
                if place in source.owned:
                    metrics.lag.labels(source.name, *map(str, place)).set(max(0, end - committed))
        return found

    if not owned:
        return {}
    try:
        # A source that takes partitions over answers nobody meanwhile; the others are looked at.
        async with asyncio.timeout(ANSWER_S):
            return await source.call(ask)
    except (KafkaException, TimeoutError):
        return {}  # the broker is away: nobody makes progress, and nobody is to blame
