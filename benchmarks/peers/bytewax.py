"""Bytewax: at least once (it has no exactly-once to Kafka), its state in SQLite every second.

`python -m bytewax.run "benchmarks.peers.bytewax:flow('JOB')"` runs it; `prepare` comes first.
"""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow

from benchmarks.peers.avro import BATCH_MAX, LAST, AvroJob


def flow(file: str) -> Dataflow:
    """The dataflow of a job."""
    avro = AvroJob(file)
    job = avro.fields
    dataflow = Dataflow("fold")
    source = KafkaSource([job["kafka"]], [job["source"]], tail=True, batch_size=BATCH_MAX)
    heard = op.input("in", dataflow, source)

    def keyed(message: Any) -> tuple[str, Any]:
        return message.key.decode(), avro.decode(message.value)

    def fold(before: Any, record: Any) -> tuple[Any, bytes]:
        count, last = before or (0, [])
        after = (count + 1, [*last[1 - LAST :], record["text"]])
        return after, avro.encode(record, *after)

    said = op.map("decode", heard, keyed)
    folded = op.stateful_map("fold", said, fold)
    out = op.map("out", folded, lambda kept: KafkaSinkMessage(kept[0].encode(), kept[1]))
    kafka.output("sink", out, brokers=[job["kafka"]], topic=job["sink"])
    return dataflow
