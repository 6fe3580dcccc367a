"""The wire format finds the right schema for every record, and says what is wrong with the rest."""

from __future__ import annotations

import copy
import dataclasses
from io import BytesIO
from typing import Any

import fastavro
import pytest
from record_examples import EXAMPLES, PLACES

from schemas.avro_types import AvroSchema, record_schema
from schemas.codec import RecordCodec
from schemas.commands import ExpireTurn, SubmitMessage
from schemas.events import CommandRejected, TurnRestarted, TurnStarted
from schemas.failures import Failure, Invalid, Unavailable
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS, TOPICS, Topic, full_name
from schemas.wire import HEADER_BYTES, TopicWire, schema_name


class Ids:
    """A registry in memory, which counts what it is asked and can be away."""

    def __init__(self) -> None:
        self.by_subject: dict[str, int] = {}
        self.schemas: dict[int, AvroSchema] = {}
        self.asked = 0
        self.away = False

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        self._ask()
        if subject not in self.by_subject:
            self.by_subject[subject] = self.add(schema)
        return self.by_subject[subject]

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        self._ask()
        return self.schemas.get(schema_id)

    def add(self, schema: AvroSchema) -> int:
        schema_id = 2**16 + len(self.schemas)
        self.schemas[schema_id] = schema
        return schema_id

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("the registry is away")


@pytest.fixture
def ids() -> Ids:
    return Ids()


def framed(schema_id: int, body: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def refusal(wire: TopicWire, value: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        wire.decode(value)
    assert wire.topic.name in str(caught.value) or caught.value.code == "decoding"
    return caught.value.code


@pytest.mark.parametrize(("topic", "record"), PLACES, ids=[full_name(r) for _, r in PLACES])
def test_every_record_goes_round_under_its_schemas_id(topic: Topic, record: type, ids: Ids) -> None:
    wire = TopicWire(topic, ids)
    value = wire.encode(EXAMPLES[record])
    schema_id = ids.by_subject[f"{topic.name}-parley.{record.__name__}"]
    assert value == framed(schema_id, RecordCodec(record).encode(EXAMPLES[record]))
    assert wire.decode(value) == EXAMPLES[record]
    assert wire.record_type(value) is record


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00\x01abc", b"{}", b"hello world"]
)
def test_what_is_not_in_the_wire_format_is_refused(value: bytes, ids: Ids) -> None:
    wire = TopicWire(EVENTS, ids)
    assert refusal(wire, value) == "wire_format"
    with pytest.raises(Invalid):
        wire.record_type(value)
    assert ids.asked == 0


def test_an_id_that_the_registry_does_not_know_is_refused(ids: Ids) -> None:
    wire = TopicWire(EVENTS, ids)
    assert refusal(wire, framed(4711, b"x")) == "unknown_schema"
    with pytest.raises(Invalid):
        wire.record_type(framed(4711, b"x"))


def test_an_unknown_id_is_not_remembered_since_it_may_be_registered_soon(ids: Ids) -> None:
    wire = TopicWire(EVENTS, ids)
    body = RecordCodec(TurnRestarted).encode(EXAMPLES[TurnRestarted])
    assert refusal(wire, framed(2**16, body)) == "unknown_schema"
    ids.add(record_schema(TurnRestarted))
    assert wire.decode(framed(2**16, body)) == EXAMPLES[TurnRestarted]


def test_a_record_of_another_topic_is_refused_both_ways(ids: Ids) -> None:
    commands, events = TopicWire(COMMANDS, ids), TopicWire(EVENTS, ids)
    value = commands.encode(EXAMPLES[SubmitMessage])
    assert refusal(events, value) == "unknown_record"
    assert events.record_type(value) is None
    with pytest.raises(Invalid) as caught:
        events.encode(EXAMPLES[SubmitMessage])
    assert caught.value.code == "wrong_topic"


@pytest.mark.parametrize("schema", ["string", ["null", "string"], {"type": "map", "values": "int"}])
def test_a_schema_that_is_no_record_is_refused(schema: AvroSchema, ids: Ids) -> None:
    assert refusal(TopicWire(EVENTS, ids), framed(ids.add(schema), b"\x00")) == "unknown_record"


def test_a_schema_that_can_not_be_parsed_is_refused(ids: Ids) -> None:
    broken = copy.deepcopy(record_schema(TurnStarted))
    broken["fields"][0]["type"] = "parley.SomethingElse"
    wire = TopicWire(EVENTS, ids)
    value = framed(ids.add(broken), b"\x00")
    assert refusal(wire, value) == "unknown_schema"
    with pytest.raises(Invalid):
        wire.record_type(value)


def test_a_truncated_record_and_one_with_more_behind_it_are_refused(ids: Ids) -> None:
    wire = TopicWire(EVENTS, ids)
    value = wire.encode(EXAMPLES[TurnStarted])
    assert refusal(wire, value[:-1]) == "decoding"
    assert refusal(wire, value[:HEADER_BYTES]) == "decoding"
    with pytest.raises(Invalid) as caught:
        wire.decode(value + b"\x00")
    assert caught.value.code == "trailing_bytes"


def test_our_schema_is_ours_in_the_registrys_words_too() -> None:
    """Apicurio leaves the namespace of an inner record out where the outer one has the same."""
    codec = RecordCodec(SubmitMessage)
    other_words = copy.deepcopy(codec.schema)
    del other_words["fields"][0]["type"]["namespace"], other_words["doc"]
    assert other_words != codec.schema
    assert codec.writes_as(other_words)
    longer = copy.deepcopy(codec.schema)
    longer["fields"].append({"name": "hint", "type": "string", "default": ""})
    turned = copy.deepcopy(codec.schema) | {"fields": codec.schema["fields"][::-1]}
    assert not codec.writes_as(longer)
    assert not codec.writes_as(turned)


def test_a_record_of_a_newer_writer_is_read_by_its_schema(ids: Ids) -> None:
    newer = copy.deepcopy(record_schema(CommandRejected))
    newer["fields"].insert(1, {"name": "hint", "type": "string", "default": ""})
    out = BytesIO()
    fastavro.schemaless_writer(
        out,
        fastavro.parse_schema(newer),
        dataclasses.asdict(EXAMPLES[CommandRejected]) | {"hint": "what to do"},
    )
    value = framed(ids.add(newer), out.getvalue())
    assert TopicWire(EVENTS, ids).decode(value) == EXAMPLES[CommandRejected]


def test_a_record_type_that_is_newer_than_this_code_can_be_skipped(ids: Ids) -> None:
    newer = {"type": "record", "name": "HandoverRequested", "namespace": "parley", "fields": []}
    value = framed(ids.add(newer), b"")
    wire = TopicWire(EVENTS, ids)
    assert wire.record_type(value) is None
    assert refusal(wire, value) == "unknown_record"


def test_the_registry_is_asked_once_for_each_schema(ids: Ids) -> None:
    wire = TopicWire(COMMANDS, ids)
    values = [wire.encode(EXAMPLES[ExpireTurn]) for _ in range(3)]
    asked_to_encode = ids.asked
    for value in values:
        wire.decode(value)
    assert (asked_to_encode, ids.asked) == (1, 2)


def test_once_prepared_nothing_needs_the_registry_to_encode(ids: Ids) -> None:
    wire = TopicWire(EVENTS, ids)
    wire.prepare()
    ids.away = True
    for record in EVENTS.records:
        wire.encode(EXAMPLES[record])


def test_a_registry_that_is_away_is_no_fault_of_the_record(ids: Ids) -> None:
    value = TopicWire(EVENTS, ids).encode(EXAMPLES[TurnStarted])
    ids.away = True
    wire = TopicWire(EVENTS, ids)
    for ask in (wire.decode, wire.record_type):
        with pytest.raises(Unavailable):
            ask(value)
    with pytest.raises(Unavailable):
        wire.encode(EXAMPLES[TurnStarted])
    ids.away = False
    assert wire.decode(value) == EXAMPLES[TurnStarted]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "record", "name": "A", "namespace": "x.y", "fields": []}, "x.y.A"),
        ({"type": "record", "name": "x.y.A", "namespace": "z", "fields": []}, "x.y.A"),
        ({"type": "record", "name": "A", "fields": []}, "A"),
        ({"type": "enum", "name": "A", "symbols": []}, ""),
        ("string", ""),
        (["null"], ""),
        (None, ""),
    ],
)
def test_a_schemas_full_name_follows_avros_rules(schema: Any, name: str) -> None:
    assert schema_name(schema) == name


def test_topics_keyed_by_conversation_share_their_partition_count() -> None:
    by_name = {topic.name: topic for topic in TOPICS}
    keyed = ("commands", "events", "conversations", "tokens")
    assert {by_name[f"parley.{name}.v1"].partitions for name in keyed} == {6}


def test_a_dead_letter_has_room_for_the_largest_record_of_any_topic() -> None:
    def largest(topic: Topic) -> int:
        return int(topic.config.get("max.message.bytes", 1_048_588))

    others = [topic for topic in TOPICS if topic is not DEAD_LETTERS]
    assert largest(DEAD_LETTERS) >= max(map(largest, others)) + 64 * 1024
    # An event carries its command's texts on, in a longer envelope; a snapshot is far smaller.
    assert largest(EVENTS) >= largest(COMMANDS) + 64 * 1024


def test_failures_are_told_apart_by_what_the_runtime_must_do() -> None:
    for failure in (Invalid("code", "why"), Unavailable("why")):
        assert isinstance(failure, Failure)
    assert not isinstance(Invalid("code", "why"), Unavailable)
