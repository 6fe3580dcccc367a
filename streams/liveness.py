"""Ends a process whose stages run but get nowhere: lag, and no offset committed for too long."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Assigned

from infra.telemetry.metrics import Metrics
from streams.batch_source import BatchSource
from streams.worker import Worker

CHECK_EVERY_S = 5.0


async def watch(worker: Worker, metrics: Metrics, patience_s: float) -> str:
    """Publishes the lag of every stage; returns, with a sentence, when one is stuck."""
    moved_at: dict[tuple[str, str, int], tuple[int, float]] = {}
    while True:
        await asyncio.sleep(min(CHECK_EVERY_S, patience_s))
        for source in worker.sources.values():
            for (topic, partition), (committed, end) in (await _positions(source)).items():
                metrics.lag.labels(source.name, topic, str(partition)).set(max(0, end - committed))
                place = (source.name, topic, partition)
                known, since = moved_at.get(place, (-1, 0.0))
                if committed != known or committed >= end or source.paused:
                    moved_at[place] = (committed, time.monotonic())
                elif time.monotonic() - since > patience_s:
                    return (
                        f"{source.name} has {end - committed} records before it on "
                        f"{topic}[{partition}] and committed none for {patience_s:.0f} s"
                    )


async def _positions(source: BatchSource) -> dict[tuple[str, int], tuple[int, int]]:
    owned = sorted(source.owned)

    def ask(consumer: Consumer) -> dict[tuple[str, int], tuple[int, int]]:
        found = {}
        for each in consumer.committed([Assigned(*p) for p in owned], timeout=5.0):
            # The cached end costs no request; the fetcher keeps it fresh.
            _, end = consumer.get_watermark_offsets(each, cached=True)
            if end >= 0:
                found[each.topic, each.partition] = (max(each.offset, 0), end)
        return found

    if not owned:
        return {}
    try:
        return await source.call(ask)
    except KafkaException:
        return {}  # the broker is away: nobody makes progress, and nobody is to blame
