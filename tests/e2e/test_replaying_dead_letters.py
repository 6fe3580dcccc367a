"""An operator finds what was put aside, looks at it, and sends it round again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from confluent_kafka import Producer
from running_stack import RunningStack, wait_for
from searching import decoded

from infra.telemetry.metrics import Metrics
from parley.client.conversation import new_id
from parley.talk import open_client
from parley.wiring import Wiring
from schemas.commands import SubmitMessage
from schemas.events import CommandRejected, MessageReceived
from schemas.failures import Invalid
from schemas.headers import command_headers, rfc3339
from schemas.identifiers import client_command_id
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS, key_of
from streams.dead_letters import DeadLetters

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Put:
    """A message as librdkafka gives it."""

    key_bytes: bytes
    content: bytes
    sent_headers: list[tuple[str, bytes]]

    def topic(self) -> str:
        return COMMANDS.name

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 4711

    def key(self) -> bytes:
        return self.key_bytes

    def value(self) -> bytes:
        return self.content

    def headers(self) -> list[tuple[str, bytes]]:
        return self.sent_headers


def numbers(stack: RunningStack, stage: str) -> list[int]:
    answered = stack.parley("dead-letters", "list", "--stage", stage, "--json")
    assert answered.code == 0, answered.err
    return [letter["number"] for letter in answered.json]


def put_aside(stack: RunningStack, stage: str, command: SubmitMessage) -> int:
    """A letter as a stage with a defect would have written it; its number."""
    wiring = Wiring(stack.settings, "test")
    headers = command_headers(SubmitMessage, command.envelope, b"/parley/gateway")
    message = Put(key_of(command), wiring.wire(COMMANDS).encode(command), headers)
    letters = DeadLetters(stage, wiring.wire(DEAD_LETTERS), wiring.sealer, Metrics())
    letter = letters.letter(message, Invalid("defect", "a defect of that day"))  # type: ignore[arg-type]
    producer = Producer(dict(wiring.kafka.for_producer()))
    producer.produce(letter.topic, letter.value, letter.key)
    assert producer.flush(30) == 0
    wiring.close()
    (number,) = numbers(stack, stage)
    return number


def a_command(stack: RunningStack, conversation: str) -> SubmitMessage:
    """A person's command as the gateway makes it, which nobody has handled."""
    place = last_command(stack).envelope
    command_id = client_command_id("demo", conversation, place.actor, "parked", "SubmitMessage")
    envelope = replace(place, command_id=command_id, conversation_id=conversation)
    wiring = Wiring(stack.settings, "test")
    text = wiring.sealer.seal(
        "This will be parked",
        tenant_id="demo",
        conversation_id=conversation,
        subject=place.actor,
        origin_id=command_id,
        field="text",
        month=rfc3339(place.issued_at)[:7],
    )
    wiring.close()
    return SubmitMessage(envelope, "parked", text)


def last_command(stack: RunningStack) -> SubmitMessage:
    """What somebody said just now, in a conversation of their own."""
    mid = new_id()

    async def say() -> None:
        async with open_client(stack.settings, "demo", "parked") as client:
            await (await client.conversation()).send("Hello", mid)

    asyncio.run(say())
    said = (c for c in decoded(stack, COMMANDS) if isinstance(c, SubmitMessage) and c.mid == mid)
    return next(said)


def effects(stack: RunningStack, conversation: str) -> list[type]:
    return [
        type(event)
        for event in decoded(stack, EVENTS)
        if event.envelope.conversation_id == conversation
        and isinstance(event, (MessageReceived, CommandRejected))
    ]


def test_a_command_goes_round_again_and_twice_is_harmless(stack: RunningStack) -> None:
    conversation, stage = new_id(), f"stage-{new_id()}"
    number = put_aside(stack, stage, a_command(stack, conversation))

    shown = stack.parley("dead-letters", "show", str(number))
    assert shown.code == 0, shown.err
    assert "SubmitMessage" in shown.out
    assert "a defect of that day" in shown.out
    assert "sealed, " in shown.out
    assert "This will be parked" not in shown.out

    assert effects(stack, conversation) == []
    for _ in range(2):
        replayed = stack.parley("dead-letters", "replay", str(number), "--json")
        assert (replayed.code, replayed.json) == (0, {"replayed": [number]})
    wait_for(lambda: effects(stack, conversation) != [], "the effect of the command")
    verified = stack.parley("verify", timeout_s=180)
    assert verified.code == 0, verified.out + verified.err
    assert effects(stack, conversation) == [MessageReceived]


def test_garbage_is_put_aside_anew(stack: RunningStack) -> None:
    before = set(numbers(stack, "conversation"))
    producer = Producer({"bootstrap.servers": stack.addresses["kafka"]})
    producer.produce(COMMANDS.name, b"no record at all", b"demo:garbage")
    assert producer.flush(30) == 0
    wait_for(lambda: set(numbers(stack, "conversation")) > before, "its dead letter")
    (number,) = set(numbers(stack, "conversation")) - before
    shown = stack.parley("dead-letters", "show", str(number), "--json").json
    assert shown["code"] == "wire_format"
    assert bytes.fromhex(shown["hex"]) == b"no record at all"
    assert stack.parley("dead-letters", "replay", str(number)).code == 0
    wait_for(lambda: len(numbers(stack, "conversation")) == len(before) + 2, "another letter")
    listed = stack.parley("dead-letters", "list", "--stage", "conversation", "--json").json
    assert listed[-1]["replay_of"] == str(number)


def test_a_foreign_record_among_the_letters_is_passed_over(stack: RunningStack) -> None:
    producer = Producer({"bootstrap.servers": stack.addresses["kafka"]})
    producer.produce(DEAD_LETTERS.name, b"no letter at all", b"garbage")
    assert producer.flush(30) == 0
    answered = stack.parley("dead-letters", "list")
    assert answered.code == 0
    assert "no letters of ours" in answered.err


def test_what_is_no_command_does_not_go_round(stack: RunningStack) -> None:
    producer = Producer({"bootstrap.servers": stack.addresses["kafka"]})
    before = set(numbers(stack, "redis"))
    producer.produce(EVENTS.name, b"no event at all", b"demo:garbage")
    assert producer.flush(30) == 0
    wait_for(lambda: set(numbers(stack, "redis")) > before, "its dead letter")
    (number,) = set(numbers(stack, "redis")) - before
    refused = stack.parley("dead-letters", "replay", str(number))
    assert refused.code == 4
    assert "only commands go round again" in refused.err


def test_a_letter_that_is_not_there_is_said(stack: RunningStack) -> None:
    for words in (("show", "999999"), ("replay", "999999")):
        answered = stack.parley("dead-letters", *words)
        assert (answered.code, "there is no letter 999999" in answered.err) == (2, True)
