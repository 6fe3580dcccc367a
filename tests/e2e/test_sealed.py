"""Nothing that people or models write stands in the clear in Kafka, in a log file or in a trace.

What is searched: every record of every topic, decompressed (knowledge apart, which is public), and
every file of the folders `logs` and `traces`; for any four words in a row of a message or an
answer. That the search would find them is shown on a stack that runs with sealing switched off.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import redis
from running_stack import RunningStack, wait_for
from searching import decoded, files, found_in, quadruples, records, rows, tables

from infra.keys import open_sealer
from infra.keys.errors import SealBroken
from infra.local import Stack
from parley.client.conversation import new_id
from parley.local_stack import scatter_ports
from parley.talk import ask, open_client
from schemas.events import MessageReceived
from schemas.topics import EVENTS, KNOWLEDGE, TOPICS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

MESSAGES = (
    "My purple umbrella card vanished somewhere near Lake Titicaca yesterday morning",
    "How long does a replacement usually take to arrive at my summer cottage",
    "Could somebody kindly explain the exchange rate applied to Mongolian currency",
)
SPEAKING = ("parley.commands.v1", "parley.events.v1", "parley.tokens.v1")
"""The topics that carry what people and models write."""
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


@pytest.fixture
def unsealed(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    """A smaller stack of its own, in which sealing is off."""
    folder = tmp_path_factory.mktemp("unsealed") / "data"
    scatter_ports(folder)
    (folder / "settings.toml").write_text('[keys]\nsealing = "off"\n')
    shutil.copytree(stack.folder / "registry-cache", folder / "registry-cache")
    script = Path(__file__).with_name("plain_stack.py")
    plain = Stack(folder)
    try:
        plain.detach((sys.executable, str(script), str(folder)), tied=True)
        yield RunningStack(folder)
    finally:
        plain.stop()


async def said_and_answered(
    stack: RunningStack, texts: Iterable[str], sub: str
) -> tuple[str, list[str]]:
    """Says the texts in one conversation; its id, and the texts with their answers."""
    async with open_client(stack.settings, "demo", sub) as client:
        conversation = await client.conversation(new_id())
        spoken: list[str] = []
        for text in texts:
            exchange = await ask(conversation, text, lambda item: None)
            assert exchange.outcome == "completed"
            spoken += [text, exchange.text]
    return conversation.id, spoken


def searched(stack: RunningStack, needles: set[bytes]) -> dict[str, list[bytes]]:
    """What is found of the needles in each topic that has records."""
    found: dict[str, list[bytes]] = {}
    for topic, record in records(stack, [t.name for t in TOPICS if t is not KNOWLEDGE]):
        found.setdefault(topic, []).extend(found_in(record, needles))
    return found


def test_no_four_words_of_a_conversation_stand_in_kafka_in_a_log_or_in_a_trace(
    stack: RunningStack,
) -> None:
    conversation, spoken = asyncio.run(said_and_answered(stack, MESSAGES, "sealed-1"))
    needles = set().union(*(quadruples(text) for text in spoken))
    assert len(needles) > 50
    found = searched(stack, needles)
    assert set(SPEAKING) <= set(found)
    assert not any(found.values()), found

    logs, traces = (files(stack.folder / name) for name in ("logs", "traces"))
    assert any(path.stat().st_size for path in logs)
    told = conversation.encode()
    wait_for(lambda: any(told in path.read_bytes() for path in traces), "the trace of it")
    for path in logs + traces:
        assert not found_in(path.read_bytes(), needles), path.name


def test_the_search_finds_what_is_written_with_sealing_off(unsealed: RunningStack) -> None:
    _, [question, answer] = asyncio.run(said_and_answered(unsealed, MESSAGES[:1], "unsealed"))
    for text, topics in ((question, SPEAKING[:2]), (answer, SPEAKING)):
        found = searched(unsealed, quadruples(text))
        assert {topic for topic, hits in found.items() if hits} == set(topics)


def test_redis_and_clickhouse_hold_placeholders_for_planted_values(stack: RunningStack) -> None:
    lead = b"Please look at this value"
    texts = [f"{lead.decode()} for me: {value} and tell me more" for value in PLANTED]
    for start in range(0, len(texts), 5):
        asyncio.run(said_and_answered(stack, texts[start : start + 5], f"planted-{start}"))
    needles = [value.encode() for value in PLANTED]
    held = redis_dump(stack)
    assert len(re.findall(rb"<[A-Z_]+_1>", held)) >= len(PLANTED)
    assert found_in(held, needles) == []

    wait_for(lambda: rows(stack, "v1_messages").count(lead) >= len(PLANTED), "rows")
    shown = {table: rows(stack, table) for table in tables(stack)}
    assert {table for table, content in shown.items() if lead in content} == {
        "event_texts",
        "v1_messages",
    }
    assert {"events", "v1_turns", "v1_conversations", "v1_inferences"} < set(shown)
    for table, content in shown.items():
        assert found_in(content, needles) == [], table


def test_the_original_opens_with_its_key_and_with_nothing_else(stack: RunningStack) -> None:
    text = "Nobody but the key may ever read this peculiar sentence"
    asyncio.run(said_and_answered(stack, [text], "sealed-2"))
    sealer = open_sealer(stack.settings.keys)
    try:
        opened = []
        for event in decoded(stack, EVENTS):
            if not isinstance(event, MessageReceived):
                continue
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


def redis_dump(stack: RunningStack) -> bytes:
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
