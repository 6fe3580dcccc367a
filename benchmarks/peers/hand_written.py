"""`hand_written.py JOB`: the ceiling: a loop that does the work and nothing besides.

confluent-kafka and fastavro, one transaction for each batch, a snapshot for each touched
conversation and batch. No headers, no ids, no checks, no restore, and it ends at the first error.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.peers.avro import BATCH_MAX, LAST, WIRE_BYTES, AvroJob


def main() -> None:
    avro = AvroJob(sys.argv[1])
    job, said, folded, prefix = avro.fields, avro.said, avro.folded, avro.prefix
    consumer = Consumer(
        {
            "bootstrap.servers": job["kafka"],
            "group.id": job["group"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job["kafka"],
            "transactional.id": job["group"],
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions()
    consumer.subscribe([job["source"]])
    states: dict[bytes, dict[str, Any]] = {}
    while True:
        messages = consumer.consume(BATCH_MAX, 0.1)
        if not messages:
            continue
        producer.begin_transaction()
        offsets: dict[int, int] = {}
        dirty: dict[bytes, bytes] = {}
        for message in messages:
            if message.error():
                raise SystemExit(str(message.error()))
            key = message.key()
            record: Any = fastavro.schemaless_reader(
                io.BytesIO(message.value()[WIRE_BYTES:]), said, said
            )
            state = states.get(key)
            if state is None:
                state = states[key] = {"count": 0, "last": []}
            state["count"] += 1
            state["last"] = [*state["last"][1 - LAST :], record["text"]]
            event = io.BytesIO()
            event.write(prefix)
            fastavro.schemaless_writer(
                event,
                folded,
                {
                    "tenant_id": record["tenant_id"],
                    "conversation_id": record["conversation_id"],
                    "number": record["number"],
                    "count": state["count"],
                    "last": state["last"],
                },
            )
            value = event.getvalue()
            producer.produce(job["sink"], value, key)
            dirty[key] = value
            offsets[message.partition()] = message.offset() + 1
        for key, value in dirty.items():
            producer.produce(job["changelog"], value, key)
        producer.send_offsets_to_transaction(
            [TopicPartition(job["source"], p, offset) for p, offset in offsets.items()],
            consumer.consumer_group_metadata(),
        )
        producer.commit_transaction()


if __name__ == "__main__":
    main()
