"""`stock_faust.py JOB`: stock Faust with a table (memory, and its changelog), at least once."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import fastavro
import faust

LAST = 8


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    said = fastavro.parse_schema(job["schemas"]["said"])
    folded = fastavro.parse_schema(job["schemas"]["folded"])
    prefix = b"\0" + job["ids"]["folded"].to_bytes(4, "big")
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
            record: Any = fastavro.schemaless_reader(io.BytesIO(event.value[5:]), said, said)
            key = event.key.decode()
            state = table[key]
            state = {
                "count": state["count"] + 1,
                "last": [*state["last"][1 - LAST :], record["text"]],
            }
            table[key] = state
            made = io.BytesIO()
            made.write(prefix)
            fastavro.schemaless_writer(
                made,
                folded,
                {
                    "tenant_id": record["tenant_id"],
                    "conversation_id": record["conversation_id"],
                    "number": record["number"],
                    **state,
                },
            )
            await sink.send(key=event.key, value=made.getvalue())

    app.agent(source)(fold)
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main()
