"""Who sees a conversation, while roles change and before anybody owns it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from gateway_parts import (
    Backing,
    OwnedLog,
    Parts,
    Projector,
    frames_until,
    running_gateway,
)

from schemas.events import CommandRejected, ConversationStarted

Socket = aiohttp.ClientWebSocketResponse[bool]


@pytest.fixture
async def parts(backing: Backing) -> AsyncIterator[Parts]:
    async with running_gateway(backing, sockets_per_user=100) as parts:
        yield parts


async def socket_of(parts: Parts, sub: str, *roles: str) -> Socket:
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": parts.token(sub, roles=roles)})
    await frames_until(ws, {"t": "welcome"})
    return ws


async def follow(ws: Socket, c: str, **position: Any) -> dict[str, Any]:
    """The answer to `sub`."""
    await ws.send_json({"t": "sub", "id": "follow", "c": c, "seq": 0, **position})
    return (await frames_until(ws, {"t": "subbed", "id": "follow"}))[-1]


async def rest(ws: Socket) -> list[dict[str, Any]]:
    """What the socket was sent so far. A frame that changes nothing is answered behind it."""
    await ws.send_json({"t": "unsub", "id": "rest", "c": "nothing"})
    return (await frames_until(ws, {"t": "ok", "id": "rest"}))[:-1]


# Roles


async def test_a_role_that_is_taken_away_ends_what_it_opened(parts: Parts) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    log.exchange("m1", "q", "a")
    await projector.write(*log.events)
    owner, helper = await socket_of(parts, "alice"), await socket_of(parts, "helper", "agent")
    await follow(owner, c)
    await follow(helper, c)
    await frames_until(helper, {"t": "event", "seq": 5})
    token = parts.token("helper", roles=["user"])
    await helper.send_json({"t": "auth", "id": "less", "token": token})
    assert (await helper.receive_json(timeout=10)) == {"t": "ok", "id": "less"}
    told = await helper.receive_json(timeout=10)
    assert (told["t"], told["code"], told["c"]) == ("err", "forbidden", c)
    await projector.write(log.received("m2"))
    await frames_until(owner, {"t": "event", "seq": 6})
    assert await rest(helper) == []


async def test_another_role_that_may_read_goes_on_without_a_break(parts: Parts) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    log.exchange("m1", "q", "a")
    await projector.write(*log.events)
    helper = await socket_of(parts, "helper", "agent")
    await follow(helper, c)
    token = parts.token("helper", roles=["supervisor"])
    await helper.send_json({"t": "auth", "id": "other", "token": token})
    await projector.write(log.received("m2"))
    frames = await frames_until(helper, {"t": "event", "seq": 6})
    seqs = [frame["seq"] for frame in frames if frame["t"] == "event"]
    assert seqs == [1, 2, 3, 4, 5, 6]
    assert {frame["t"] for frame in frames} == {"event", "ok"}


# Before anybody owns it


def rejected(log: OwnedLog, mid: str) -> CommandRejected:
    """What a `cancel` before the first message leads to."""
    message = "there is no such answer here"
    fields = {"command": "CancelTurn", "code": "unknown_turn", "message": message, "mid": mid}
    return log._append(CommandRejected, **fields, turn_id="turn-1")


async def cancel(ws: Socket, c: str, mid: str) -> None:
    await ws.send_json({"t": "cancel", "id": mid, "c": c, "mid": mid, "turn": "turn-1"})
    await frames_until(ws, {"t": "ok", "id": mid})


async def test_a_command_before_the_first_message_is_answered_and_so_is_the_message(
    parts: Parts,
) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    ws = await socket_of(parts, "alice")
    await follow(ws, c)
    await cancel(ws, c, "too-early")
    await projector.write(rejected(log, "too-early"))
    told = await ws.receive_json(timeout=10)
    assert (told["t"], told["type"], told["mid"]) == ("event", "CommandRejected", "too-early")
    await ws.send_json({"t": "send", "id": 1, "c": c, "mid": "m1", "body": {"text": "hello"}})
    await frames_until(ws, {"t": "ok", "id": 1})
    log._append(ConversationStarted)
    log.exchange("m1", "hello", "Good morning.")
    await projector.write(*log.events[1:])
    frames = await frames_until(ws, {"t": "event", "type": "TurnCompleted"})
    assert [frame["seq"] for frame in frames] == [2, 3, 4, 5, 6]
    assert frames[-1]["data"]["text"] == "Good morning."


async def test_a_stranger_sees_nothing_of_a_conversation_that_finds_its_owner_later(
    parts: Parts,
) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    owner, stranger = await socket_of(parts, "alice"), await socket_of(parts, "mallory")
    for ws, mid in ((owner, "too-early"), (stranger, "me-too")):
        assert (await follow(ws, c))["head"] == 0
        await cancel(ws, c, mid)
    await projector.write(rejected(log, "too-early"), rejected(log, "me-too"))
    await frames_until(owner, {"t": "event", "seq": 1})
    assert await rest(stranger) == []
    log._append(ConversationStarted)
    log.exchange("m1", "hello", "Good morning.")
    await projector.write(*log.events[2:])
    await frames_until(owner, {"t": "event", "type": "TurnCompleted"})
    told = await stranger.receive_json(timeout=10)
    assert (told["t"], told["code"], told["c"]) == ("err", "forbidden", c)
    assert await rest(stranger) == []


async def test_who_comes_to_a_conversation_without_an_owner_finds_it_empty_and_can_begin_it(
    parts: Parts,
) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    await projector.write(rejected(log, "of somebody"))
    ws = await socket_of(parts, "alice")
    subbed = await follow(ws, c)
    assert (subbed["head"], subbed["resumed"]) == (0, True)
    await ws.send_json({"t": "send", "id": 1, "c": c, "mid": "m1", "body": {"text": "hello"}})
    await frames_until(ws, {"t": "ok", "id": 1})
    log._append(ConversationStarted)
    log.exchange("m1", "hello", "Good morning.")
    await projector.write(*log.events[1:])
    frames = await frames_until(ws, {"t": "event", "type": "TurnCompleted"})
    assert [frame["seq"] for frame in frames] == [1, 2, 3, 4, 5, 6]


async def test_who_has_seen_its_own_refusal_resumes_behind_it(parts: Parts) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    ws = await socket_of(parts, "alice")
    epoch = (await follow(ws, c))["epoch"]
    await cancel(ws, c, "too-early")
    await projector.write(rejected(log, "too-early"))
    await frames_until(ws, {"t": "event", "seq": 1})
    again = await socket_of(parts, "alice")
    subbed = await follow(again, c, epoch=epoch, seq=1)
    assert (subbed["head"], subbed["resumed"]) == (1, True)
    await projector.write(log._append(ConversationStarted))
    assert (await again.receive_json(timeout=10))["seq"] == 2
