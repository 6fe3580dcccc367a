"""`stock_faust.py JOB`: stock Faust with a table (memory, and its changelog), at least once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import faust

from benchmarks.peers.avro import LAST, AvroJob


def main() -> None:
    avro = AvroJob(sys.argv[1])
    job = avro.fields
    app: Any = faust.App(
        job["group"],
        broker=f"kafka://{job['kafka']}",
        datadir=Path(job["folder"]) / "faust",
        store="memory://",
        topic_partitions=4,
        topic_disable_leader=True,
        topic_replication_factor=1,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes}
    raw |= {"key_serializer": "raw", "value_serializer": "raw"}
    source, sink = app.topic(job["source"], **raw), app.topic(job["sink"], **raw)
    table = app.Table("fold", default=lambda: {"count": 0, "last": []}, partitions=4)

    async def fold(stream: Any) -> None:
        async for event in stream.events():
            record = avro.decode(event.value)
            key = event.key.decode()
            state = table[key]
            count, last = state["count"] + 1, [*state["last"][1 - LAST :], record["text"]]
            table[key] = {"count": count, "last": last}
            await sink.send(key=event.key, value=avro.encode(record, count, last))

    app.agent(source)(fold)
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main()
