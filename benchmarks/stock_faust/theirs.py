"""`theirs.py CASE KAFKA IN OUT MARK`: a stock Faust worker that copies one topic to another.

Nothing here is unusual: the documented ways to write an agent, with the library's defaults but for
a shorter commit interval.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import faust

from benchmarks.stock_faust.cases import CASES, FLUSH, OUT_OF_ORDER, RAISES, SLOW_S, TAKE, UNLUCKY


def main(case_name: str, kafka: str, source_name: str, sink_name: str, mark: str) -> None:
    case = next(case for case in CASES if case.name == case_name)
    app: Any = faust.App(
        f"stock-{source_name}",
        broker=f"kafka://{kafka}",
        datadir=Path(mark).parent / "faust",
        store="memory://",
        topic_partitions=1,
        topic_disable_leader=True,
        web_enabled=False,
        broker_commit_interval=0.5,
        consumer_auto_offset_reset="earliest",
    )
    raw = {
        "key_type": bytes,
        "value_type": bytes,
        "key_serializer": "raw",
        "value_serializer": "raw",
    }
    source = app.topic(source_name, **raw)
    sink = app.topic(sink_name, **raw)

    def unlucky(key: bytes) -> bool:
        """Whether this is the record, and the first time."""
        if key != b"demo:%d" % UNLUCKY or Path(mark).exists():
            return False
        Path(mark).touch()
        return True

    async def raising(stream: Any) -> None:
        async for event in stream.events():
            if unlucky(event.key):
                raise RuntimeError("a service was away")
            await sink.send(key=event.key, value=event.value)

    async def taking(stream: Any) -> None:
        async for batch in stream.take(10, within=1):
            if not Path(mark).exists():
                Path(mark).touch()
                raise RuntimeError("a service was away")
            for value in batch:
                await sink.send(value=value)

    async def at_once(stream: Any) -> None:
        async for event in stream.events():
            if unlucky(event.key):
                await asyncio.sleep(SLOW_S)
            await sink.send(key=event.key, value=event.value)

    async def posting(stream: Any) -> None:
        async for event in stream.events():
            sink.send_soon(key=event.key, value=event.value)

    agents = {RAISES: raising, TAKE: taking, OUT_OF_ORDER: at_once, FLUSH: posting}
    concurrency = 4 if case is OUT_OF_ORDER else 1
    app.agent(source, concurrency=concurrency)(agents[case])
    worker = faust.Worker(app, loglevel="ERROR")
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
