"""What stands in a stack, as bytes to be searched and as records to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from running_stack import RunningStack

from infra.schema_registry import SchemaRegistry
from schemas.failures import Invalid
from schemas.topics import Topic
from schemas.wire import TopicWire


def quadruples(text: str) -> set[bytes]:
    """Every four words in a row, as they would stand in a file."""
    words = text.split()
    return {" ".join(words[i : i + 4]).encode() for i in range(len(words) - 3)}


def found_in(haystack: bytes, needles: Iterable[bytes]) -> list[bytes]:
    return [needle for needle in needles if needle in haystack]


def records(stack: RunningStack, topics: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Keys, values and headers of every record of the topics, decompressed."""
    for message in _messages(stack, topics, "read_uncommitted"):
        parts = [message.key() or b"", message.value() or b""]
        for name, value in message.headers() or ():
            parts += [name.encode(), value or b""]
        yield message.topic(), b"\x00".join(parts)


def decoded(stack: RunningStack, topic: Topic) -> Iterator[Any]:
    """The records of a topic; foreign bytes among them are passed over."""
    wire = topic_wire(stack, topic)
    for message in _messages(stack, [topic.name], "read_committed"):
        with suppress(Invalid):
            yield wire.decode(message.value())


def topic_wire(stack: RunningStack, topic: Topic) -> TopicWire:
    wire = TopicWire(topic, SchemaRegistry(stack.addresses["registry"]))
    wire.prepare()
    return wire


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def tables(stack: RunningStack) -> list[str]:
    """Every table and view of the analysts' database."""
    return _sql(stack, "SHOW TABLES").split()[1:]


def rows(stack: RunningStack, table: str) -> bytes:
    """All that a table shows. JSON would not do: it writes a slash as two characters."""
    return _sql(stack, f"SELECT * FROM {table}").encode()


def _sql(stack: RunningStack, query: str) -> str:
    answered = stack.parley("sql", query, "--format", "tsv")
    assert answered.code == 0, answered.err
    return answered.out


def _messages(stack: RunningStack, topics: Iterable[str], level: str) -> Iterator[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": stack.addresses["kafka"],
            "group.id": "search",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": level,
        }
    )
    places = _places(consumer, topics)
    consumer.assign(places)
    ended = 0
    while ended < len(places):
        for message in consumer.consume(1000, 1.0):
            if message.error() is None:
                yield message
                continue
            assert message.error().code() == KafkaError._PARTITION_EOF
            ended += 1
    consumer.close()


def _places(consumer: Consumer, topics: Iterable[str]) -> Sequence[TopicPartition]:
    known = consumer.list_topics(timeout=10).topics
    return [TopicPartition(t, p, 0) for t in topics for p in known[t].partitions]
