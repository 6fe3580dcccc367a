"""A token's life on an open socket: it runs out, is renewed, and stays with one person's rights."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import pytest
from gateway_parts import Backing, Parts, Projector, frames_until, running_gateway

GRACE_S = 1.5

Socket = aiohttp.ClientWebSocketResponse[bool]


@pytest.fixture
async def parts(backing: Backing, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    """A gateway whose clock ticks often, and whose grace is short."""
    monkeypatch.setattr("gateway.connection.AUTH_GRACE_S", GRACE_S)
    async with running_gateway(backing, stalled_ms=400, sockets_per_user=100) as parts:
        yield parts


async def speaking(parts: Parts, token: str, **options: Any) -> Socket:
    ws = await parts.socket(hello=False, **options)
    await ws.send_json({"t": "hello", "v": 1, "token": token})
    return ws


async def ending(ws: Socket) -> list[dict[str, Any]]:
    """What a socket was still sent; it ends with `bye` and is closed with the code of that."""
    frames = await frames_until(ws, {"t": "bye"})
    assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    assert ws.close_code == frames[-1]["code"]
    return frames


async def ended(ws: Socket) -> dict[str, Any]:
    return (await ending(ws))[-1]


async def still_serves(ws: Socket) -> None:
    await ws.send_json({"t": "unsub", "id": "still", "c": "c"})
    await frames_until(ws, {"t": "ok", "id": "still"})


def expiry(token: str) -> int:
    return int(jwt.decode(token, options={"verify_signature": False})["exp"])


# Time


async def test_a_socket_whose_token_ran_out_is_closed_after_its_grace_and_not_before(
    parts: Parts,
) -> None:
    token = parts.token(ttl_s=0)
    ws = await speaking(parts, token)
    due = (await frames_until(ws, {"t": "auth_due"}))[-1]
    assert due["in_ms"] == 0
    await still_serves(ws)
    (bye,) = await ending(ws)
    assert (bye["code"], bye["reconnect"]) == (4401, True)
    assert time.time() > expiry(token) + GRACE_S


async def test_a_socket_whose_token_was_renewed_outlives_one_that_was_not(parts: Parts) -> None:
    renewed, left = [await speaking(parts, parts.token(ttl_s=0)) for _ in range(2)]
    await frames_until(renewed, {"t": "auth_due"})
    await renewed.send_json({"t": "auth", "id": 1, "token": parts.token()})
    await frames_until(renewed, {"t": "ok", "id": 1})
    assert (await ended(left))["code"] == 4401
    await still_serves(renewed)


async def test_each_token_of_a_socket_is_asked_to_be_renewed_once(parts: Parts) -> None:
    ws = await speaking(parts, parts.token(ttl_s=20))
    assert 0 < (await frames_until(ws, {"t": "auth_due"}))[-1]["in_ms"] <= 20_000
    await ws.send_json({"t": "auth", "id": 1, "token": parts.token(ttl_s=40)})
    frames = await frames_until(ws, {"t": "auth_due"})
    assert [frame["t"] for frame in frames] == ["ok", "auth_due"]
    assert 20_000 < frames[-1]["in_ms"] <= 40_000


@pytest.mark.parametrize(
    ("token", "code"), [("junk", 4500), ("expired", 4401)], ids=["no token", "an expired one"]
)
async def test_a_renewal_that_is_none_ends_the_socket(parts: Parts, token: str, code: int) -> None:
    ws = await speaking(parts, parts.token())
    offered = parts.token(ttl_s=-60) if token == "expired" else token
    await ws.send_json({"t": "auth", "id": 1, "token": offered})
    assert (await ended(ws))["code"] == code


# The person


@pytest.mark.parametrize(
    ("sub", "tenant"),
    [("mallory", "demo"), ("alice", "harvest")],
    ids=["another sub", "another tenant"],
)
async def test_neither_hello_nor_a_new_token_may_change_who_is_there(
    parts: Parts, sub: str, tenant: str
) -> None:
    theirs = parts.token(sub, tenant=tenant)
    ws = await speaking(parts, parts.token())
    await ws.send_json({"t": "auth", "id": 1, "token": theirs})
    bye = await ended(ws)
    assert (bye["code"], bye["reconnect"]) == (4503, False)
    upgraded = {"headers": {"Authorization": f"Bearer {parts.token()}"}}
    ws = await speaking(parts, theirs, **upgraded)
    assert (await ended(ws))["code"] == 4503


async def test_who_gains_a_role_with_a_new_token_may_open_more(parts: Parts) -> None:
    theirs = f"c-{uuid4().hex[:12]}"
    log = parts.log(theirs, "alice")
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    ws = await speaking(parts, parts.token("agent"))
    await ws.send_json({"t": "sub", "id": 1, "c": theirs, "seq": 0})
    await frames_until(ws, {"t": "err", "id": 1, "code": "forbidden"})
    await ws.send_json({"t": "auth", "id": 2, "token": parts.token("agent", roles=["agent"])})
    await ws.send_json({"t": "sub", "id": 3, "c": theirs, "seq": 0})
    await frames_until(ws, {"t": "event", "c": theirs, "seq": 5})
