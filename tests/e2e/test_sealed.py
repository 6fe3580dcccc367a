"""Nothing that people or models write stands in the clear in Kafka or in a log file.

What is searched: every record of every topic, decompressed (knowledge apart, which is public), and
every log file of the stack; for any four words in a row of a message or an answer. The search
itself is tested on texts that were written with sealing switched off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, KafkaError, TopicPartition
from running_stack import RunningStack, wait_for

from infra.keys import open_sealer
from infra.keys.errors import SealBroken
from infra.keys.keyring import Keyring
from infra.keys.sealing import PlainSealer
from infra.keys.store import open_key_store
from infra.schema_registry import SchemaRegistry
from parley.client.conversation import new_id
from parley.talk import ask, open_client
from schemas.events import MessageReceived
from schemas.topics import EVENTS, KNOWLEDGE, TOPICS
from schemas.wire import TopicWire

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

MESSAGES = (
    "My purple umbrella card vanished somewhere near Lake Titicaca yesterday morning",
    "How long does a replacement usually take to arrive at my summer cottage",
    "Could somebody kindly explain the exchange rate applied to Mongolian currency",
)
PLANTED = (
    "ada.lovelace@example.org",
    "grace_hopper+bank@mail.example.com",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "340000000000009",
    "6011000990139424",
    "GB82 WEST 1234 5698 7654 32",
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "+44 20 7946 0958",
    "+1 415 555 2671",
    "(212) 555-0187",
    "020 7946 0123",
    "078-05-1120",
    "219-09-9999",
    "192.168.17.42",
    "2001:db8:85a3::8a2e:370:7334",
    "https://portal.example.com/u/ada?session=77",
    "www.ada-private.example.net",
    "margaret.hamilton@example.co.uk",
)


def quadruples(text: str) -> set[bytes]:
    """Every four words in a row, as they would stand in a file."""
    words = text.split()
    return {" ".join(words[i : i + 4]).encode() for i in range(len(words) - 3)}


def records(stack: RunningStack, topics: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Keys, values and headers of every record of the topics, decompressed."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.addresses["kafka"],
            "group.id": "search",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
        }
    )
    known = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(t, p, 0) for t in topics for p in known[t].partitions]
    consumer.assign(places)
    ended = 0
    while ended < len(places):
        for message in consumer.consume(1000, 1.0):
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                ended += 1
                continue
            parts = [message.key() or b"", message.value() or b""]
            for name, value in message.headers() or ():
                parts += [name.encode(), value or b""]
            yield message.topic(), b"\x00".join(parts)
    consumer.close()


def log_files(stack: RunningStack) -> list[Path]:
    return [p for p in (stack.folder / "logs").rglob("*") if p.is_file()]


def found_in(haystack: bytes, needles: Iterable[bytes]) -> list[bytes]:
    return [needle for needle in needles if needle in haystack]


async def said_and_answered(stack: RunningStack, texts: Iterable[str], sub: str) -> list[str]:
    """Says the texts in one conversation; gives them back with their answers."""
    async with open_client(stack.settings, "demo", sub) as client:
        conversation = await client.conversation(new_id())
        spoken: list[str] = []
        for text in texts:
            exchange = await ask(conversation, text, lambda item: None)
            assert exchange.outcome == "completed"
            spoken += [text, exchange.text]
    return spoken


def test_no_four_words_of_a_conversation_stand_in_kafka_or_in_a_log(stack: RunningStack) -> None:
    spoken = asyncio.run(said_and_answered(stack, MESSAGES, "sealed-1"))
    needles = set().union(*(quadruples(text) for text in spoken))
    assert len(needles) > 50
    names = [topic.name for topic in TOPICS if topic is not KNOWLEDGE]
    searched: dict[str, int] = {}
    for topic, record in records(stack, names):
        searched[topic] = searched.get(topic, 0) + 1
        assert not found_in(record, needles), topic
    assert {"parley.commands.v1", "parley.events.v1", "parley.tokens.v1"} <= set(searched)
    for path in log_files(stack):
        assert not found_in(path.read_bytes(), needles), path.name


def test_the_search_finds_what_is_written_with_sealing_off(stack: RunningStack) -> None:
    settings = stack.settings.keys
    ring = Keyring(open_key_store(settings), size=10, revalidate_ms=60_000)
    sealer = PlainSealer(ring)
    try:
        sealed = sealer.seal(
            MESSAGES[0],
            tenant_id="demo",
            conversation_id="c1",
            subject="s",
            origin_id="o",
            field="text",
            month="2026-11",
        )
    finally:
        sealer.close()
    asyncio.run(said_and_answered(stack, MESSAGES[:1], "sealed-3"))
    event = next(_messages(stack))
    plain = MessageReceived(event.envelope, event.mid, sealed, event.analysis_deadline_at)
    record = _wire(stack).encode(plain)
    assert found_in(record, quadruples(MESSAGES[0]))


def test_redis_and_clickhouse_hold_placeholders_for_planted_values(stack: RunningStack) -> None:
    texts = [f"Please look at this value for me: {value} and tell me more" for value in PLANTED]
    for start in range(0, len(texts), 5):
        asyncio.run(said_and_answered(stack, texts[start : start + 5], f"planted-{start}"))
    needles = [value.encode() for value in PLANTED]
    held = _redis_dump(stack)
    assert len(re.findall(rb"<[A-Z_]+_1>", held)) >= len(PLANTED)
    assert found_in(held, needles) == []

    def in_clickhouse() -> str:
        answered = stack.parley("sql", "SELECT * FROM v1_messages", "--format", "json")
        assert answered.code == 0, answered.err
        return answered.out

    wait_for(lambda: in_clickhouse().count("Please look at this value") >= len(PLANTED), "rows")
    shown = in_clickhouse()
    assert found_in(shown.encode(), needles) == []
    folder = stack.folder / "clickhouse"
    assert folder.is_dir()


def test_the_original_opens_with_its_key_and_with_nothing_else(stack: RunningStack) -> None:
    text = "Nobody but the key may ever read this peculiar sentence"
    asyncio.run(said_and_answered(stack, [text], "sealed-2"))
    sealer = open_sealer(stack.settings.keys)
    try:
        opened = []
        for event in _messages(stack):
            place = event.envelope
            here = {"tenant_id": place.tenant_id, "conversation_id": place.conversation_id}
            if sealer.open(event.text, **here) != text:
                continue
            opened.append(event)
            for elsewhere in ({"tenant_id": "harvest"}, {"conversation_id": "another"}):
                with pytest.raises(SealBroken):
                    sealer.open(event.text, **{**here, **elsewhere})
        assert len(opened) == 1
    finally:
        sealer.close()


def _messages(stack: RunningStack) -> Iterator[MessageReceived]:
    """Every `MessageReceived` of the log."""
    wire = _wire(stack)
    consumer = Consumer(
        {
            "bootstrap.servers": stack.addresses["kafka"],
            "group.id": "messages",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(EVENTS.name, p, 0) for p in range(EVENTS.partitions)])
    ended = 0
    while ended < EVENTS.partitions:
        for message in consumer.consume(1000, 1.0):
            if message.error() is not None:
                ended += 1
                continue
            if wire.record_type(message.value()) is MessageReceived:
                yield wire.decode(message.value())
    consumer.close()


def _wire(stack: RunningStack) -> TopicWire:
    wire = TopicWire(EVENTS, SchemaRegistry(stack.addresses["registry"]))
    wire.prepare()
    return wire


def _redis_dump(stack: RunningStack) -> bytes:
    """Every value of every key, with the keys."""
    client = redis.Redis.from_url(stack.addresses["redis"])
    parts: list[bytes] = []
    for key in client.scan_iter(count=1000):
        parts.append(key)
        match client.type(key):
            case b"string":
                parts.append(client.get(key) or b"")
            case b"hash":
                parts += [b for pair in client.hgetall(key).items() for b in pair]
            case b"stream":
                parts += [b for _, f in client.xrange(key) for pair in f.items() for b in pair]
    client.close()
    return b"\n".join(parts)
