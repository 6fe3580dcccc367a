"""`quix.py JOB`: Quix Streams, exactly-once, its own RocksDB state with changelog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from quixstreams import Application

from benchmarks.peers.avro import LAST, AvroJob


def main() -> None:
    avro = AvroJob(sys.argv[1])
    job = avro.fields
    app = Application(
        broker_address=job["kafka"],
        consumer_group=job["group"],
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        state_dir=str(Path(job["folder"]) / "state"),
        commit_interval=1.0,
        loglevel="ERROR",
    )
    source = app.topic(job["source"], value_deserializer="bytes", key_deserializer="bytes")
    sink = app.topic(job["sink"], value_serializer="bytes", key_serializer="bytes")

    def fold(value: bytes, state: Any) -> bytes:
        record = avro.decode(value)
        count = state.get("count", 0) + 1
        last = [*state.get("last", [])[1 - LAST :], record["text"]]
        state.set("count", count)
        state.set("last", last)
        return avro.encode(record, count, last)

    app.dataframe(source).apply(fold, stateful=True).to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
