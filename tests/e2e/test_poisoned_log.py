"""What a foreign producer puts on the events topic is put aside sealed, and nobody is held up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, Message, Producer
from running_stack import RunningStack, wait_for
from searching import decoded, found_in, records, rows

from infra.keys import open_sealer
from parley.client import Exchange
from parley.client.conversation import new_id
from parley.talk import ask, open_client
from parley.verify.partitioning import partition_of
from schemas.records import DeadLetter
from schemas.topics import DEAD_LETTERS, EVENTS, conversation_key
from schemas.wire import MAGIC

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SECRET = b"a stranger's secret, which has no business here"
POISON = {
    "wire_format": SECRET,
    "unknown_schema": MAGIC + (2**31 - 9).to_bytes(4, "big") + SECRET,
}
"""Values by the code that each is put aside with."""
SETTING_ASIDE = {"analysis", "redis", "clickhouse"}
"""The readers that write dead letters. Answering reads what analysis does, and passes it over."""


async def say(stack: RunningStack, conversation: str, text: str) -> Exchange:
    async with open_client(stack.settings, "demo", "poisoned") as client:
        return await ask(await client.conversation(conversation), text, lambda item: None)


def put_on_events(stack: RunningStack, key: bytes, values: list[bytes]) -> list[int]:
    """Writes foreign bytes under a conversation's key; their offsets."""
    producer = Producer({"bootstrap.servers": stack.addresses["kafka"], "acks": "all"})
    offsets: list[int] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        offsets.append(message.offset())

    for value in values:
        place = partition_of(key, EVENTS.partitions)
        producer.produce(EVENTS.name, value, key, place, on_delivery=delivered)
    assert producer.flush(30) == 0
    return offsets


def letters_about(
    stack: RunningStack, partition: int, offsets: dict[int, str]
) -> Iterator[DeadLetter]:
    for letter in decoded(stack, DEAD_LETTERS):
        here = (letter.topic, letter.partition) == (EVENTS.name, partition)
        if here and letter.offset in offsets:
            yield letter


def test_foreign_records_are_put_aside_by_every_reader_and_hold_nobody_up(
    stack: RunningStack,
) -> None:
    name = new_id()
    assert asyncio.run(say(stack, name, "How do I change my PIN?")).outcome == "completed"
    key = conversation_key("demo", name)
    partition = partition_of(key, EVENTS.partitions)
    codes = dict(zip(put_on_events(stack, key, list(POISON.values())), POISON, strict=True))

    after = asyncio.run(say(stack, name, "And where is my card?"))
    assert (after.outcome, after.degraded) == ("completed", ())
    wait_for(lambda: after.mid.encode() in rows(stack, "v1_turns"), "the turn in ClickHouse")

    wanted = {(stage, code) for stage in SETTING_ASIDE for code in POISON}
    found: list[DeadLetter] = []

    def all_aside() -> bool:
        found[:] = letters_about(stack, partition, codes)
        return {(letter.stage, letter.code) for letter in found} >= wanted

    wait_for(all_aside, "a dead letter of every reader for each of them")
    assert {(letter.stage, letter.code) for letter in found} == wanted
    assert all(letter.code == codes[letter.offset] for letter in found)
    thinking = (stack.folder / "logs" / "worker-think.log").read_text()
    for code in POISON:
        assert f"answering passes a record over: {code}" in thinking

    sealer = open_sealer(stack.settings.keys)
    for letter in found:
        place = f"{EVENTS.name}/{partition}/{letter.offset}"
        assert sealer.open_bytes(letter.content, context=place) == POISON[letter.code]
        assert sealer.open_bytes(letter.key, context=place) == key
    sealer.close()
    for _, record in records(stack, [DEAD_LETTERS.name]):
        assert not found_in(record, [SECRET, key])

    verified = stack.parley("verify", "--json")
    assert (verified.code, verified.json["agrees"]) == (0, True), verified.out + verified.err
    unreadable = {
        (place["partition"], place["offset"]): place["code"]
        for place in verified.json["unreadable"]
    }
    assert unreadable.items() >= {((partition, offset), code) for offset, code in codes.items()}
