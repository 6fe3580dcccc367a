"""Messages become records, with their place; what is no record of its topic is poison."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

sys.path.append(str(Path(__file__).parents[1] / "schemas"))

from record_examples import EXAMPLES, PLACES, TRACE

from schemas.avro_types import AvroSchema
from schemas.commands import SubmitMessage
from schemas.events import MessageReceived, TurnStarted
from schemas.failures import Invalid, Unavailable
from schemas.records import AnswerPiece, ConversationSnapshot, KnowledgeDocument
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS, KNOWLEDGE, TOKENS, Topic, full_name
from schemas.wire import TopicWire
from sinks.port import Delivery
from streams.decoding import Decoder

KEY = b"demo:c-1"
NEWER = {"type": "record", "name": "HandoverRequested", "namespace": "parley", "fields": []}


class Ids:
    """A registry in memory."""

    def __init__(self) -> None:
        self.schemas: list[AvroSchema] = []
        self.away = False

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        if schema not in self.schemas:
            self.schemas.append(schema)
        return self.schemas.index(schema)

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        if self.away:
            raise Unavailable("the registry is away")
        return self.schemas[schema_id] if schema_id < len(self.schemas) else None


IDS = Ids()
WIRES = {
    topic: TopicWire(topic, IDS) for topic in (COMMANDS, EVENTS, CONVERSATIONS, TOKENS, KNOWLEDGE)
}


def message(topic: Topic, value: Any, key: bytes | None = KEY) -> Message:
    encoded = value if isinstance(value, bytes | None) else WIRES[topic].encode(value)
    return Message(topic=topic.name, partition=3, offset=41, key=key, value=encoded)


def newer_record() -> bytes:
    return b"\x00" + IDS.id_of("", NEWER).to_bytes(4, "big")


def code(decoder: Decoder, found: Message) -> str:
    with pytest.raises(Invalid) as caught:
        decoder.decode(found)
    return caught.value.code


ALL = Decoder(WIRES.values())
SOME = Decoder(WIRES.values(), wanted=(MessageReceived,))


@pytest.mark.parametrize(
    ("topic", "record"),
    [p for p in PLACES if p[0] in WIRES],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_every_record_is_delivered_with_its_place_and_schema_id(topic: Topic, record: type) -> None:
    delivery = ALL.decode(message(topic, EXAMPLES[record]))
    assert delivery is not None
    assert delivery.record == EXAMPLES[record]
    assert (delivery.topic, delivery.partition, delivery.offset) == (topic.name, 3, 41)
    assert IDS.schemas[delivery.schema_id]["name"] == full_name(record).removeprefix("parley.")


@pytest.mark.parametrize("record", [SubmitMessage, MessageReceived, AnswerPiece])
def test_the_trace_comes_along(record: type) -> None:
    (topic,) = (t for t, r in PLACES if r is record)
    delivery = ALL.decode(message(topic, EXAMPLES[record]))
    assert isinstance(delivery, Delivery)
    assert delivery.traceparent == TRACE


def test_a_record_that_the_stage_does_not_act_upon_is_skipped() -> None:
    assert SOME.decode(message(EVENTS, EXAMPLES[TurnStarted])) is None
    assert SOME.decode(message(EVENTS, EXAMPLES[MessageReceived])) is not None


def test_what_is_skipped_is_not_decoded() -> None:
    broken = WIRES[EVENTS].encode(EXAMPLES[TurnStarted])[:8]
    assert SOME.decode(message(EVENTS, broken)) is None
    assert code(ALL, message(EVENTS, broken)) == "decoding"


def test_a_record_type_that_is_newer_than_the_stage_is_skipped() -> None:
    assert SOME.decode(message(EVENTS, newer_record())) is None


def test_a_stage_that_wants_everything_puts_a_newer_record_type_aside() -> None:
    assert code(ALL, message(EVENTS, newer_record())) == "unknown_record"


@pytest.mark.parametrize("decoder", [ALL, SOME], ids=["all", "some"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "no_value"),
        (b"", "wire_format"),
        (b"garbage", "wire_format"),
        (b"\x00\x00\x00\xff\xff", "unknown_schema"),
    ],
)
def test_garbage_is_poison_for_everybody(decoder: Decoder, value: bytes | None, why: str) -> None:
    assert code(decoder, message(EVENTS, value)) == why


@pytest.mark.parametrize("key", [None, b"", b"demo:c-2", b"other:c-1", b"demo:c-1 ", b"\xff"])
@pytest.mark.parametrize("record", [SubmitMessage, MessageReceived, AnswerPiece])
def test_a_record_under_the_key_of_something_else_is_poison(
    record: type, key: bytes | None
) -> None:
    """It lies on the partition of its key, where the wrong state would answer it."""
    (topic,) = (t for t, r in PLACES if r is record)
    assert code(ALL, message(topic, EXAMPLES[record], key)) == "wrong_key"


@pytest.mark.parametrize("record", [ConversationSnapshot, KnowledgeDocument])
def test_keys_of_compacted_topics_are_their_readers_business(record: type) -> None:
    (topic,) = (t for t, r in PLACES if r is record)
    assert ALL.decode(message(topic, EXAMPLES[record], b"demo:lost-card")) is not None


def test_a_registry_that_is_away_is_no_fault_of_the_message() -> None:
    ids = Ids()
    value = TopicWire(EVENTS, ids).encode(EXAMPLES[TurnStarted])
    ids.away = True
    for wanted in (None, (MessageReceived,)):
        with pytest.raises(Unavailable):
            Decoder([TopicWire(EVENTS, ids)], wanted).decode(message(EVENTS, value))


def test_a_refusal_never_quotes_the_message() -> None:
    secret = b"4111 1111 1111 1111"
    for value in (secret, b"\x00" + secret, newer_record() + secret):
        with pytest.raises(Invalid) as caught:
            ALL.decode(message(EVENTS, value, key=secret))
        assert "4111" not in str(caught.value)


def test_a_record_larger_than_its_topic_takes_is_poison_though_compression_let_it_in() -> None:
    large = WIRES[COMMANDS].encode(EXAMPLES[SubmitMessage]) + b"x" * COMMANDS.record_bytes_max
    assert code(ALL, message(COMMANDS, large)) == "too_large"


def one_by_one(decoder: Decoder, messages: list[Message]) -> list[Any]:
    """What `decode` says of each message."""
    found: list[Any] = []
    for each in messages:
        try:
            found.append(decoder.decode(each))
        except Invalid as error:
            found.append((each.offset(), error.code))
    return found


def every_kind(topic: Topic) -> list[Message]:
    """Every record of the topic, and everything that is none."""
    values: list[tuple[Any, bytes | None]] = [
        (EXAMPLES[record], KEY) for t, record in PLACES if t is topic
    ]
    encoded = WIRES[topic].encode(values[0][0])
    values += [(value, b"demo:c-2") for value, _ in values]
    values += [(encoded[:-1], KEY), (encoded + b"x", KEY), (encoded[:5], KEY)]
    values += [(encoded + b"x" * topic.record_bytes_max, KEY), (newer_record(), KEY)]
    values += [(value, KEY) for value in (None, b"", b"garbage", b"\x00\x00\x00\xff\xff")]
    return [
        Message(
            topic=topic.name,
            partition=3,
            offset=offset,
            key=key,
            value=v if isinstance(v, bytes | None) else WIRES[topic].encode(v),
        )
        for offset, (v, key) in enumerate(values)
    ]


@pytest.mark.parametrize("wanted", [None, (MessageReceived, SubmitMessage)], ids=["all", "some"])
@pytest.mark.parametrize("topic", WIRES, ids=lambda topic: topic.name)
def test_a_batch_comes_out_as_its_messages_one_by_one(
    topic: Topic, wanted: tuple[type, ...] | None
) -> None:
    decoder = Decoder(WIRES.values(), wanted)
    messages = every_kind(topic)
    expected = one_by_one(decoder, messages)
    for _ in range(2):  # the second time it has met all of them
        rejected: list[tuple[int | None, str]] = []
        found = decoder.decode_all(messages, lambda m, e: rejected.append((m.offset(), e.code)))  # noqa: B023
        assert found == [each for each in expected if isinstance(each, Delivery)]
        assert rejected == [each for each in expected if isinstance(each, tuple)]
    assert decoder.decode_all([], lambda m, e: None) == []


async def test_the_registry_is_asked_before_a_batch_is_decoded_and_not_on_the_loop() -> None:
    ids = Ids()
    value = TopicWire(EVENTS, ids).encode(EXAMPLES[TurnStarted])
    asked_by: list[threading.Thread] = []
    schema_of = ids.schema_of

    def slow(schema_id: int) -> AvroSchema | None:
        asked_by.append(threading.current_thread())
        return schema_of(schema_id)

    ids.schema_of = slow  # type: ignore[method-assign]
    decoder = Decoder([TopicWire(EVENTS, ids)])
    batch = [message(EVENTS, value), message(EVENTS, b"garbage"), message(EVENTS, None)]

    await decoder.prepare(batch)
    await decoder.prepare(batch)
    assert decoder.decode(batch[0]) is not None
    assert len(asked_by) == 1
    assert asked_by[0] is not threading.main_thread()


async def test_preparing_says_that_the_registry_is_away() -> None:
    ids = Ids()
    value = TopicWire(EVENTS, ids).encode(EXAMPLES[TurnStarted])
    ids.away = True
    with pytest.raises(Unavailable):
        await Decoder([TopicWire(EVENTS, ids)]).prepare([message(EVENTS, value)])
