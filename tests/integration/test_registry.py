"""The schemas in a real registry: registered, compatible for ever, and readable by anybody."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

sys.path.append(str(Path(__file__).parents[1] / "unit" / "schemas"))

from record_examples import EXAMPLES, PLACES
from schema_changes import COMPATIBLE, INCOMPATIBLE

from infra.schema_registry import Incompatible, SchemaRegistry
from schemas.avro_types import record_schema
from schemas.commands import SubmitMessage
from schemas.envelope import Envelope
from schemas.events import TurnRestarted
from schemas.failures import Invalid, Unavailable
from schemas.topics import COMMANDS, EVENTS, TOPICS, Topic, full_name
from schemas.types import Int32
from schemas.wire import TopicWire

pytestmark = pytest.mark.stack

NO_REGISTRY = "http://127.0.0.1:9/apis/ccompat/v7"


@dataclass(frozen=True)
class Registered:
    """All schemas, registered under subjects of this run."""

    url: str
    cache_file: Path
    topics: tuple[Topic, ...]
    count: int

    @property
    def client(self) -> SchemaRegistryClient:
        return SchemaRegistryClient({"url": self.url})

    def topic(self, topic: Topic) -> Topic:
        return self.topics[TOPICS.index(topic)]


def of_this_run(topic: Topic) -> Topic:
    return replace(topic, name=f"{RUN}.{topic.name}")


RUN = f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def registered(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    cache_file: Path = tmp_path_factory.mktemp("registry") / "schemas.json"
    topics = tuple(of_this_run(topic) for topic in TOPICS)
    url = stack.addresses["registry"]
    count = SchemaRegistry(url, cache_file=cache_file).register(topics)
    return Registered(url, cache_file, topics, count)


def renamed(name: str, record: type) -> type:
    record.__name__ = name
    return record


# Registration


def test_every_record_has_a_subject_that_is_compatible_for_ever(registered: Registered) -> None:
    subjects = {t.subject(record) for t in registered.topics for record in t.records}
    assert registered.count == len(subjects) == 26
    assert subjects <= set(registered.client.get_subjects())
    for subject in subjects:
        assert registered.client.get_compatibility(subject) == "FULL_TRANSITIVE"


def test_registering_again_changes_nothing(registered: Registered) -> None:
    before = json.loads(registered.cache_file.read_text())["ids"]
    anew = SchemaRegistry(registered.url)
    assert anew.register(registered.topics[:1]) == len(COMMANDS.records)
    topic = registered.topic(COMMANDS)
    for record in topic.records:
        schema = record_schema(record)
        subject = topic.subject(record)
        assert anew.id_of(subject, schema) == before[f"{subject} {json.dumps(schema)}"]
        assert len(registered.client.get_versions(subject)) == 1


def test_an_incompatible_change_is_refused(registered: Registered) -> None:
    @dataclass(frozen=True)
    class Changed:
        envelope: Envelope
        turn_id: str
        attempt: str

    topic = replace(registered.topic(EVENTS), records=(renamed("TurnRestarted", Changed),))
    with pytest.raises(Incompatible, match=r"parley\.TurnRestarted changed incompatibly"):
        SchemaRegistry(registered.url).register([topic])
    assert registered.client.get_versions(topic.subject(TurnRestarted)) == [1]


def test_a_compatible_change_is_taken_and_both_versions_are_read(registered: Registered) -> None:
    @dataclass(frozen=True, slots=True)
    class Grown:
        envelope: Envelope
        turn_id: str
        attempt: Int32
        reason: str = "unknown"

    events = registered.topic(EVENTS)
    grown = renamed("TurnRestarted", Grown)
    ids = SchemaRegistry(registered.url)
    ids.register([replace(events, records=(grown,))])
    old = TopicWire(events, ids)
    new = TopicWire(replace(events, records=(grown,)), ids)
    example = EXAMPLES[TurnRestarted]
    written_new = new.encode(Grown(example.envelope, example.turn_id, 3, "worker lost"))
    assert old.decode(written_new) == example
    assert new.decode(old.encode(example)) == Grown(example.envelope, example.turn_id, 3)


STRICTER = {"a dropped timestamp", "bytes for a string"}
"""Where `schemas.compatibility` refuses what the registry lets through."""


@pytest.mark.parametrize("change", [*COMPATIBLE, *INCOMPATIBLE])
def test_the_check_without_a_registry_says_what_the_registry_says(
    registered: Registered, change: str
) -> None:
    one, other = {**COMPATIBLE, **INCOMPATIBLE}[change]
    subject = f"{RUN}-{change.replace(' ', '-')}"
    registered.client.register_schema(subject, Schema(json.dumps(one), "AVRO"))
    registered.client.set_compatibility(subject, "FULL_TRANSITIVE")
    allowed = registered.client.test_compatibility(subject, Schema(json.dumps(other), "AVRO"))
    assert allowed == (change in COMPATIBLE or change in STRICTER)


# Ids


def test_a_process_that_has_met_its_schemas_starts_without_the_registry(
    registered: Registered,
) -> None:
    away = SchemaRegistry(NO_REGISTRY, cache_file=registered.cache_file)
    for topic in registered.topics:
        wire = TopicWire(topic, away)
        wire.prepare()
        for record in topic.records:
            assert wire.decode(wire.encode(EXAMPLES[record])) == EXAMPLES[record]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"ids": {}}',
        b"[]",
        b'{"ids": 1, "schemas": 2}',
    ],
)
def test_a_damaged_cache_is_as_good_as_none(
    registered: Registered, tmp_path: Path, damage: bytes
) -> None:
    cache_file = tmp_path / "schemas.json"
    cache_file.write_bytes(damage)
    topic = registered.topic(COMMANDS)
    wire = TopicWire(topic, SchemaRegistry(registered.url, cache_file=cache_file))
    wire.prepare([SubmitMessage])
    assert json.loads(cache_file.read_text())["ids"]


def test_an_id_that_nobody_gave_is_none(registered: Registered) -> None:
    ids = SchemaRegistry(registered.url)
    assert ids.schema_of(2**31 - 1) is None
    with pytest.raises(Invalid) as caught:
        TopicWire(EVENTS, ids).decode(b"\x00\x7f\xff\xff\xff")
    assert caught.value.code == "unknown_schema"


def test_an_id_of_something_else_than_avro_is_no_record_of_ours(registered: Registered) -> None:
    foreign = Schema('syntax = "proto3"; message Foreign { string text = 1; }', "PROTOBUF")
    schema_id = registered.client.register_schema(f"{RUN}-protobuf", foreign)
    wire = TopicWire(EVENTS, SchemaRegistry(registered.url))
    with pytest.raises(Invalid) as caught:
        wire.decode(b"\x00" + schema_id.to_bytes(4, "big") + b"\x00")
    assert caught.value.code in ("unknown_schema", "unknown_record")


def test_what_is_not_registered_is_unavailable_and_says_what_to_do(registered: Registered) -> None:
    with pytest.raises(Unavailable, match="parley topics apply"):
        SchemaRegistry(registered.url).id_of(f"{RUN}-nothing", record_schema(TurnRestarted))


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/apis/ccompat/v7"


def test_a_registry_that_is_away_or_silent_is_unavailable_within_ten_seconds(
    silent_server: str,
) -> None:
    for url in (NO_REGISTRY, silent_server):
        ids = SchemaRegistry(url)
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            ids.schema_of(1)
        assert time.monotonic() - began < 10
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)


# Foreign clients


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plainly(value: Any) -> Any:
    """A foreign client's values in our terms: times as integers, UUIDs as text."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: plainly(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plainly(inner) for inner in value]
    return value


@pytest.mark.parametrize(("topic", "record"), PLACES, ids=[full_name(r) for _, r in PLACES])
def test_a_foreign_consumer_reads_every_record_of_every_topic(
    registered: Registered, topic: Topic, record: type
) -> None:
    ours = registered.topic(topic)
    value = TopicWire(ours, SchemaRegistry(registered.url)).encode(EXAMPLES[record])
    read = AvroDeserializer(registered.client)
    found = read(value, SerializationContext(ours.name, MessageField.VALUE))
    assert plainly(found) == plainly(dataclasses.asdict(EXAMPLES[record]))


def test_a_foreign_consumer_gets_times_as_times(registered: Registered) -> None:
    ours = registered.topic(COMMANDS)
    value = TopicWire(ours, SchemaRegistry(registered.url)).encode(EXAMPLES[SubmitMessage])
    read = AvroDeserializer(registered.client)
    found: Any = read(value, SerializationContext(ours.name, MessageField.VALUE))
    assert found["envelope"]["issued_at"] == datetime(2026, 9, 21, 14, 13, 20, 123456, tzinfo=UTC)


def test_what_a_foreign_producer_writes_is_read_here(registered: Registered) -> None:
    ours = registered.topic(COMMANDS)
    write = AvroSerializer(
        registered.client,
        json.dumps(record_schema(SubmitMessage)),
        lambda record, _: dataclasses.asdict(record),
        {
            "auto.register.schemas": False,
            "subject.name.strategy": lambda context, name: f"{context.topic}-{name}",
        },
    )
    example = EXAMPLES[SubmitMessage]
    value = write(example, SerializationContext(ours.name, MessageField.VALUE))
    assert value is not None
    assert TopicWire(ours, SchemaRegistry(registered.url)).decode(value) == example
