"""A process that projects a fixed log into an engine's folder and is killed at a chosen moment.

Run as `clickhouse_rehearsal.py FOLDER CONVERSATIONS STEP DELAY_MS`. Commits and inserts are
counted; at step STEP (0: never) the process kills itself with SIGKILL, DELAY_MS after the step
began, or right after its effect if DELAY_MS is negative. Kafka's committed position is a file
here, replaced as a whole. Prints `doubt` if a range was in doubt, and `done` at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


# The tables replace repeated rows in the background, which would hide a range that came twice.
WITNESS = (
    "CREATE TABLE IF NOT EXISTS parley.witness (conversation_id String, seq UInt64)"
    " ENGINE = MergeTree ORDER BY conversation_id"
    " SETTINGS non_replicated_deduplication_window = 10000",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS parley.watch TO parley.witness"
    " AS SELECT conversation_id, seq FROM parley.events",
)


class Death:
    """Kills this process at one of its steps."""

    def __init__(self, step: int, delay_ms: float) -> None:
        self._left = step
        self._delay_ms = delay_ms

    @contextmanager
    def step(self) -> Iterator[None]:
        self._left -= 1
        mine = self._left == 0
        if mine and self._delay_ms >= 0:
            threading.Timer(self._delay_ms / 1000, self._now).start()
        yield
        if mine and self._delay_ms < 0:
            self._now()

    def _now(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class PositionFile:
    """A group's committed position, durable once `commit` returns."""

    def __init__(self, path: Path, death: Death) -> None:
        self._path = path
        self._death = death

    def read(self) -> Position | None:
        if not self._path.exists():
            return None
        return Position(*json.loads(self._path.read_text()))

    async def commit(self, position: Position) -> None:
        with self._death.step():
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps([position.offset, position.note]))
            os.replace(fresh, self._path)


class Mortal(EmbeddedClickHouse):
    """The engine, with a step at each insert."""

    def __init__(self, engine: Engine, death: Death) -> None:
        super().__init__(engine)
        self._death = death

    def insert_arrow(self, table: str, rows: Any, settings: Any = None) -> None:
        with self._death.step():
            super().insert_arrow(table, rows, settings)


async def no_dead_letters(delivery: Delivery, why: Invalid) -> None:
    raise AssertionError(f"offset {delivery.offset}: {why}")


async def project(folder: Path, conversations: int, death: Death) -> None:
    engine = Engine(folder / "engine")
    migrate(EmbeddedClickHouse(engine))
    for statement in WITNESS:
        EmbeddedClickHouse(engine).command(statement)
    sink = ClickHouseSink(Mortal(engine, death), open_text, no_dead_letters)
    kafka = PositionFile(folder / "position.json", death)
    position = kafka.read()
    await sink.assigned({SOURCE: position})
    if position and position.note:
        print("doubt", flush=True)
    offset = position.offset if position else 0
    records = [d for d in the_log(conversations) if d.offset >= offset]
    lives, size = os.getpid(), 0
    while records:
        # Every life cuts its batches differently.
        size += BATCH_SIZES[lives % len(BATCH_SIZES)]
        lives += 1
        position = await sink.write(SOURCE, records[:size], kafka.commit)
        await kafka.commit(position)
        left = [d for d in records if d.offset >= position.offset]
        records, size = left, size if len(left) == len(records) else 0
    print("done", flush=True)
    engine.close()


if __name__ == "__main__":
    chosen = Death(int(sys.argv[3]), float(sys.argv[4]))
    asyncio.run(project(Path(sys.argv[1]), int(sys.argv[2]), chosen))
