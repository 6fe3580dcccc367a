"""`quix.py JOB`: Quix Streams, exactly-once, its own RocksDB state with changelog."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import fastavro
from quixstreams import Application

LAST = 8


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    said = fastavro.parse_schema(job["schemas"]["said"])
    folded = fastavro.parse_schema(job["schemas"]["folded"])
    prefix = b"\0" + job["ids"]["folded"].to_bytes(4, "big")
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
        record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), said, said)
        count = state.get("count", 0) + 1
        last = [*state.get("last", [])[1 - LAST :], record["text"]]
        state.set("count", count)
        state.set("last", last)
        event = io.BytesIO()
        event.write(prefix)
        fastavro.schemaless_writer(
            event,
            folded,
            {
                "tenant_id": record["tenant_id"],
                "conversation_id": record["conversation_id"],
                "number": record["number"],
                "count": count,
                "last": last,
            },
        )
        return event.getvalue()

    app.dataframe(source).apply(fold, stateful=True).to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
