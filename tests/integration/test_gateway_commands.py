"""Commands on their way into the log: durable before `ok`, sealed, in order, or refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from gateway_parts import (
    Backing,
    Parts,
    Projector,
    frames_until,
    registry,
    running_gateway,
)

from infra.keys import open_sealer
from schemas.commands import CancelTurn, CloseConversation, SubmitFeedback, SubmitMessage
from schemas.headers import header
from schemas.topics import COMMANDS, conversation_key
from schemas.wire import TopicWire


@pytest.fixture
async def parts(backing: Backing) -> AsyncIterator[Parts]:
    async with running_gateway(backing, sockets_per_user=100) as parts:
        yield parts


class CommandLog:
    """Reads what was written to the commands topic since it was opened."""

    def __init__(self, parts: Parts) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": parts.settings.kafka.bootstrap_servers,
                "group.id": uuid4().hex,
                "enable.auto.commit": "false",
            }
        )
        assigned = []
        for number in range(COMMANDS.partitions):
            partition = TopicPartition(COMMANDS.name, number)
            _, partition.offset = self._consumer.get_watermark_offsets(partition, timeout=10)
            assigned.append(partition)
        self._consumer.assign(assigned)
        self._wire = TopicWire(COMMANDS, registry(parts.settings))

    def read(self, count: int, conversation_id: str) -> list[tuple[Any, Any]]:
        """Commands that a client sent to a conversation; the stages of the stack add theirs."""
        found: list[tuple[Any, Any]] = []
        deadline = time.monotonic() + 10
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} commands"
            message = self._consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            command = self._wire.decode(message.value())
            place = (command.envelope.origin, command.envelope.conversation_id)
            if place == ("client", conversation_id):
                found.append((message, command))
        return found


@pytest.fixture
def commands(parts: Parts) -> Iterator[CommandLog]:
    log = CommandLog(parts)
    yield log
    log._consumer.close()


def conversation() -> str:
    return f"c-{uuid4().hex[:12]}"


def send(c: str, mid: str, text: str, frame_id: int = 1) -> dict[str, Any]:
    return {"t": "send", "id": frame_id, "c": c, "mid": mid, "body": {"text": text}}


async def test_a_message_is_in_the_log_when_its_ok_arrives_and_opens_with_its_key(
    parts: Parts, commands: CommandLog
) -> None:
    c = conversation()
    ws = await parts.socket()
    await ws.send_json(send(c, "m1", "my card ends in 1234"))
    assert await ws.receive_json(timeout=10) == {"t": "ok", "id": 1, "mid": "m1", "dup": False}
    ((message, command),) = commands.read(1, c)
    assert type(command) is SubmitMessage
    assert message.key() == conversation_key("demo", c)
    assert (command.mid, command.envelope.origin) == ("m1", "client")
    assert command.envelope.actor == parts.subject()
    assert command.envelope.correlation_id == command.envelope.command_id
    assert header(message.headers(), "ce_id") == command.envelope.command_id
    assert len(command.envelope.body_hmac) == 16
    assert b"card" not in message.value()
    assert b"alice" not in message.value()
    sealer = open_sealer(parts.settings.keys)
    opened = sealer.open(command.text, tenant_id="demo", conversation_id=c)
    sealer.close()
    assert opened == "my card ends in 1234"


async def test_a_repeated_message_is_the_same_command_and_another_body_is_told_apart(
    parts: Parts, commands: CommandLog
) -> None:
    c = conversation()
    ws = await parts.socket()
    for frame_id, text in enumerate(("one", "one", "two"), 1):
        await ws.send_json(send(c, "m1", text, frame_id))
        ok = await ws.receive_json(timeout=10)
        assert (ok["t"], ok["dup"]) == ("ok", frame_id > 1)
    first, again, other = (command.envelope for _, command in commands.read(3, c))
    assert first.command_id == again.command_id == other.command_id
    assert first.body_hmac == again.body_hmac != other.body_hmac


async def test_commands_of_a_conversation_keep_their_order(
    parts: Parts, commands: CommandLog
) -> None:
    c = conversation()
    ws = await parts.socket("orderly")
    for number in range(30):
        await ws.send_json(send(c, f"m{number}", f"text {number}", number))
    acknowledged = [(await ws.receive_json(timeout=10))["mid"] for _ in range(30)]
    assert acknowledged == [f"m{number}" for number in range(30)]
    assert [command.mid for _, command in commands.read(30, c)] == acknowledged


async def test_every_kind_of_command_reaches_the_log(parts: Parts, commands: CommandLog) -> None:
    c = conversation()
    ws = await parts.socket()
    frames = [
        {"t": "cancel", "id": 1, "c": c, "mid": "a", "turn": "turn-1"},
        {"t": "feedback", "id": 2, "c": c, "mid": "b", "turn": "turn-1", "score": -1},
        {
            "t": "feedback",
            "id": 3,
            "c": c,
            "mid": "d",
            "turn": "t",
            "score": 1,
            "comment": "thanks",
        },
        {"t": "close", "id": 4, "c": c, "mid": "e"},
    ]
    for frame in frames:
        await ws.send_json(frame)
        assert (await ws.receive_json(timeout=10))["t"] == "ok"
    cancel, bad, good, close = (command for _, command in commands.read(4, c))
    assert (type(cancel), cancel.turn_id) == (CancelTurn, "turn-1")
    assert (type(bad), bad.score, bad.comment) == (SubmitFeedback, -1, None)
    assert good.comment is not None
    assert type(close) is CloseConversation


async def test_a_stranger_is_refused_at_the_gateway_once_the_view_names_the_owner(
    parts: Parts,
) -> None:
    c = conversation()
    log = parts.log(c, "alice")
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    ws = await parts.socket("mallory")
    await ws.send_json(send(c, "m1", "let me in"))
    assert (await ws.receive_json(timeout=10))["code"] == "forbidden"
    await ws.send_json({"t": "sub", "id": 2, "c": c, "seq": 0})
    refused = await ws.receive_json(timeout=10)
    assert (refused["t"], refused["code"], refused["temporary"]) == ("err", "forbidden", False)


async def test_who_subscribed_before_it_existed_never_sees_another_persons_conversation(
    parts: Parts,
) -> None:
    c = conversation()
    ws = await parts.socket("mallory")
    await ws.send_json({"t": "sub", "id": 1, "c": c, "seq": 0})
    await frames_until(ws, {"t": "subbed"})
    log = parts.log(c, "alice")
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    frames = await frames_until(ws, {"t": "err", "code": "forbidden"})
    assert not any(frame["t"] in ("event", "tokens", "snapshot") for frame in frames)


async def test_the_same_conversation_id_in_another_tenant_is_another_conversation(
    parts: Parts,
) -> None:
    c = conversation()
    log = parts.log(c, "alice")
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": parts.token("alice", tenant="grocer")})
    await ws.receive_json()
    await ws.send_json({"t": "sub", "id": 1, "c": c, "seq": 0})
    assert (await ws.receive_json(timeout=10))["head"] == 0


async def test_too_many_commands_are_refused_with_a_time_and_the_socket_stays(
    parts: Parts,
) -> None:
    c = conversation()
    ws = await parts.socket(f"eager-{uuid4().hex}")
    for number in range(60):
        await ws.send_json(send(c, f"m{number}", "hello", number))
    answers = [await ws.receive_json(timeout=10) for _ in range(60)]
    refused = [answer for answer in answers if answer["t"] == "err"]
    assert 40 <= 60 - len(refused) < 60
    assert {answer["code"] for answer in refused} == {"rate_limited"}
    assert all(answer["temporary"] and answer["retry_after_ms"] > 0 for answer in refused)
    await asyncio.sleep(refused[-1]["retry_after_ms"] / 1000)
    await ws.send_json(send(c, "late", "hello", 99))
    assert (await ws.receive_json(timeout=10))["t"] == "ok"
