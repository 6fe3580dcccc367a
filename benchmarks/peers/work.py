"""The work: decode, fold by conversation with the last eight texts, encode one derived event.

Everybody reads the same topic in the same Avro schema and writes durable state. A contender is a
program of its own that gets this description as a JSON file, so that one with other dependencies
can run in an environment of its own.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.kafka_admin import apply_topics
from infra.schema_registry import SchemaRegistry
from parley.sending import Sending
from schemas.codec import RecordCodec
from schemas.topics import Topic, key_of
from schemas.types import TimestampMicros
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

PARTITIONS = 4
TENANT = "bench"
TEXT = "My card has still not arrived, it was posted two weeks ago; this is line {number} of it"


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said something."""

    tenant_id: str
    conversation_id: str
    number: int
    said_at: TimestampMicros
    text: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """The conversation after a record: how many there were, and the latest texts."""

    tenant_id: str
    conversation_id: str
    number: int
    count: int
    last: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """The state of a conversation, as a changelog keeps it. `handled`: 16 bytes of each id."""

    tenant_id: str
    conversation_id: str
    count: int
    last: tuple[str, ...]
    handled: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """What a contender is given."""

    kafka: str
    registry: str
    source: str
    sink: str
    changelog: str
    group: str
    folder: str
    schemas: dict[str, Any]
    ids: dict[str, int]


def topic_of(name: str, *records: type) -> Topic:
    """A topic of this benchmark. The broker dates its records, since not every client does."""
    return Topic(name, records, PARTITIONS, {"message.timestamp.type": "LogAppendTime"})


def sink_of(name: str) -> str:
    """The topic that a job's events go to."""
    return f"out-{name}"


def said(number: int, conversations: int) -> Said:
    """A record of the input."""
    text = TEXT.format(number=number)
    return Said(TENANT, f"c-{number % conversations}", number, time.time_ns() // 1000, text)


def prepared(addresses: dict[str, str], name: str) -> TopicWire:
    """An empty topic for input."""
    topic = topic_of(name, Said)
    apply_topics(addresses["kafka"], {}, [topic])
    registry = SchemaRegistry(addresses["registry"])
    registry.register([topic])
    return TopicWire(topic, registry)


def fill(addresses: dict[str, str], name: str, records: int, conversations: int) -> None:
    """Puts the input into the log, once for all contenders."""
    wire = prepared(addresses, name)
    out = Sending(KafkaOptions(addresses["kafka"], linger_ms=20))
    for number in range(records):
        record = said(number, conversations)
        out.send(name, key_of(record), wire.encode(record))
    out.finish()


def job(addresses: dict[str, str], source: str, name: str, folder: Path) -> Path:
    """A fresh job for one run of a contender, as a file."""
    sink = topic_of(sink_of(name), Folded)
    changelog = topic_of(f"log-{name}", Memory)
    apply_topics(addresses["kafka"], {}, [sink, changelog])
    registry = SchemaRegistry(addresses["registry"])
    registry.register([sink, changelog])
    before, after = RecordCodec(Said).schema, RecordCodec(Folded).schema
    described = Job(
        kafka=addresses["kafka"],
        registry=addresses["registry"],
        source=source,
        sink=sink.name,
        changelog=changelog.name,
        group=f"group-{name}",
        folder=str(folder / name),
        schemas={"said": before, "folded": after},
        ids={
            "said": registry.id_of(topic_of(source, Said).subject(Said), before),
            "folded": registry.id_of(sink.subject(Folded), after),
        },
    )
    (folder / name).mkdir()
    file = folder / f"{name}.json"
    file.write_text(json.dumps(asdict(described)))
    return file
