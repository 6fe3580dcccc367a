"""A process that projects a fixed log into an engine's folder, to be killed at any moment.

Run as `clickhouse_rehearsal.py FOLDER CONVERSATIONS`. Kafka's committed position is a file here,
replaced as a whole. Prints a line when it begins and one when all is written.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from clickhouse_log import TOPIC, conversation, deliveries, open_text

from infra.clickhouse.embedded import EmbeddedClickHouse
from infra.clickhouse.engine import Engine
from schemas.failures import Invalid
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.projection import ClickHouseSink
from sinks.port import Delivery, Position, TopicPartition

SOURCE = TopicPartition(TOPIC, 0)
BATCH_SIZES = (37, 210, 90, 5, 160)


def the_log(conversations: int) -> list[Delivery]:
    events = [event for n in range(conversations) for event in conversation(f"c{n}")]
    return list(deliveries(events))


class PositionFile:
    """A group's committed position, durable once `commit` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Position | None:
        if not self._path.exists():
            return None
        return Position(*json.loads(self._path.read_text()))

    async def commit(self, position: Position) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps([position.offset, position.note]))
        os.replace(fresh, self._path)


async def no_dead_letters(delivery: Delivery, why: Invalid) -> None:
    raise AssertionError(f"offset {delivery.offset}: {why}")


async def project(folder: Path, conversations: int) -> None:
    engine = Engine(folder / "engine")
    clickhouse = EmbeddedClickHouse(engine)
    migrate(clickhouse)
    sink = ClickHouseSink(clickhouse, open_text, no_dead_letters)
    kafka = PositionFile(folder / "position.json")
    position = kafka.read()
    await sink.assigned({SOURCE: position})
    records = the_log(conversations)
    at = next((n for n, d in enumerate(records) if position and d.offset >= position.offset), 0)
    if position and records[-1].offset < position.offset:
        at = len(records)
    print("begins", flush=True)
    lives, size = os.getpid(), 0
    while at < len(records):
        # Every life cuts its batches differently.
        size += BATCH_SIZES[lives % len(BATCH_SIZES)]
        lives += 1
        batch = records[at : at + size]
        position = await sink.write(SOURCE, batch, kafka.commit)
        await kafka.commit(position)
        taken = sum(d.offset < position.offset for d in batch)
        at, size = at + taken, 0 if taken else size
    print("done", flush=True)
    engine.close()


if __name__ == "__main__":
    asyncio.run(project(Path(sys.argv[1]), int(sys.argv[2])))
