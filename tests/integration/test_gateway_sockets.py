"""The life of a socket: admission, bad frames, pings, slow clients, draining, the page."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from gateway_parts import (
    Backing,
    Parts,
    Projector,
    frames_until,
    piece,
    running_gateway,
)

from gateway.dev_tokens import dev_token


@pytest.fixture
async def parts(backing: Backing) -> AsyncIterator[Parts]:
    async with running_gateway(backing) as parts:
        yield parts


async def verdict(
    ws: aiohttp.ClientWebSocketResponse[bool], timeout: float = 10
) -> tuple[int, Any]:
    """The close code, and the `bye` before it if there was one."""
    bye = None
    while True:
        message = await ws.receive(timeout=timeout)
        if message.type is not aiohttp.WSMsgType.TEXT:
            assert ws.close_code is not None
            return ws.close_code, bye
        frame = json.loads(message.data)
        bye = frame if frame["t"] == "bye" else bye


# Admission


async def test_a_token_may_come_in_the_header_the_subprotocol_or_hello(parts: Parts) -> None:
    token = parts.token()
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    ways: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"headers": {"Authorization": f"Bearer {token}"}}, {}),
        ({"protocols": ("chat.v1", f"base64url.bearer.{encoded}")}, {}),
        ({"protocols": ("chat.v1",)}, {"token": token}),
    ]
    for options, hello in ways:
        async with parts.session.ws_connect(f"{parts.url}/v1/ws", **options) as ws:
            assert ws.protocol in (None, "chat.v1")
            await ws.send_json({"t": "hello", "v": 1, **hello})
            welcome = await ws.receive_json(timeout=10)
            assert welcome["t"] == "welcome"
            assert welcome["token_ttl_ms"] > 3_000_000


@pytest.mark.parametrize("case", ["wrong key", "wrong audience", "wrong issuer", "no tenant"])
async def test_a_wrong_token_ends_with_4500_or_401(parts: Parts, case: str) -> None:
    secret = b"0" * 32 if case == "wrong key" else None
    claims = {
        "wrong key": {},
        "wrong audience": {"audience": "somebody"},
        "wrong issuer": {"issuer": "somebody"},
        "no tenant": {},
    }[case]
    if secret is not None:
        token = dev_token(secret, tenant_id="demo", sub="alice")
    elif case == "no tenant":
        token = "e30.e30.e30"
    else:
        token = parts.token(**claims)
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": token})
    code, bye = await verdict(ws)
    assert (code, bye["reconnect"]) == (4500, False)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await parts.session.ws_connect(
            f"{parts.url}/v1/ws", headers={"Authorization": f"Bearer {token}"}
        )
    assert refused.value.status == 401


async def test_an_expired_token_ends_with_4401(parts: Parts) -> None:
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": parts.token(ttl_s=-60)})
    assert (await verdict(ws))[0] == 4401


async def test_a_foreign_origin_is_refused_and_our_own_is_not(parts: Parts) -> None:
    headers = {"Origin": "https://evil.example"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await parts.session.ws_connect(f"{parts.url}/v1/ws", headers=headers)
    assert refused.value.status == 403
    ws = await parts.socket(hello=False, headers=headers)
    assert (await verdict(ws))[0] == 4507
    await parts.socket(headers={"Origin": parts.url})


async def test_no_token_reaches_the_log_even_where_the_subprotocol_is_not_ours(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await parts.session.ws_connect(
            f"{parts.url}/v1/ws", protocols=("other", "base64url.bearer.secret-token")
        )
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": "secret-token"})
    await verdict(ws)
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("asyncio")]
    assert not any("secret-token" in message for message in ours)


async def test_a_sixth_socket_of_one_person_ends_with_4504(parts: Parts) -> None:
    who = f"busy-{uuid4().hex}"
    held = [await parts.socket(who) for _ in range(5)]
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": parts.token(who)})
    assert (await verdict(ws))[0] == 4504
    await held[0].close()
    await asyncio.sleep(0)
    await parts.socket(who)


# Frames


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("no json", 4501),
        ("[1]", 4501),
        ('{"t": 1}', 4501),
        ('{"t":"send","body":{"text":"\\ud800"}}', 4501),
        (b"\x00\x01", 4501),
        ("x" * 70_000, 1009),
    ],
)
async def test_what_is_no_frame_ends_the_socket(parts: Parts, raw: str | bytes, code: int) -> None:
    ws = await parts.socket()
    await (ws.send_str(raw) if isinstance(raw, str) else ws.send_bytes(raw))
    assert (await verdict(ws))[0] == code


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"t": "dance", "id": 7}, "unknown_frame"),
        ({"t": "reply", "id": 7, "c": "c", "mid": "m", "body": {}}, "unsupported"),
        ({"t": "send", "id": 7, "c": "c", "mid": "m"}, "invalid"),
        ({"t": "send", "id": 7, "c": "c", "mid": "m", "body": {"text": ""}}, "invalid"),
        ({"t": "send", "id": 7, "c": "c", "mid": "m", "body": {"text": "x" * 32_769}}, "invalid"),
        ({"t": "send", "id": 7, "c": "a:b", "mid": "m", "body": {"text": "x"}}, "invalid"),
        ({"t": "send", "id": 7, "c": "c", "mid": "m" * 65, "body": {"text": "x"}}, "invalid"),
        ({"t": "feedback", "id": 7, "c": "c", "mid": "m", "turn": "t", "score": 2}, "invalid"),
        ({"t": "sub", "id": 7, "c": "c", "seq": -1}, "invalid"),
    ],
)
async def test_a_wrong_frame_is_refused_with_its_id_and_the_socket_stays(
    parts: Parts, frame: dict[str, Any], code: str
) -> None:
    ws = await parts.socket()
    await ws.send_json(frame)
    answer = await ws.receive_json(timeout=10)
    assert (answer["t"], answer["id"], answer["code"]) == ("err", 7, code)
    assert "xxxx" not in answer["message"]
    await ws.send_json({"t": "unsub", "id": 8, "c": "c"})
    assert (await ws.receive_json(timeout=10))["t"] == "ok"


async def test_the_33rd_subscription_is_refused(parts: Parts) -> None:
    ws = await parts.socket()
    for number in range(33):
        await ws.send_json({"t": "sub", "id": number, "c": f"many-{number}", "seq": 0})
    frames = await frames_until(ws, {"t": "err", "id": 32})
    assert frames[-1]["code"] == "too_many_subscriptions"


async def test_a_first_frame_that_is_not_hello_ends_with_4502(parts: Parts) -> None:
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "sub", "id": 1, "c": "c"})
    assert (await verdict(ws))[0] == 4502


# Time


async def test_silence_after_the_upgrade_ends_with_4502(backing: Backing) -> None:
    async with running_gateway(backing, hello_ms=100) as parts:
        ws = await parts.socket(hello=False)
        assert (await verdict(ws))[0] == 4502


async def test_a_ping_without_pong_ends_with_4412_and_a_pong_keeps_the_socket(
    backing: Backing,
) -> None:
    async with running_gateway(backing, ping_ms=100, pong_ms=150) as parts:
        answering = await parts.socket("a")
        silent = await parts.socket("b")
        for _ in range(4):
            assert (await answering.receive_json(timeout=5))["t"] == "ping"
            await answering.send_json({"t": "pong"})
        assert (await verdict(silent))[0] == 4412


# Flow


async def test_a_client_that_reads_nothing_is_held_to_its_bound_and_then_sent_away(
    backing: Backing,
) -> None:
    async with running_gateway(backing, stalled_ms=1500, unsent_bytes=65_536) as parts:
        c = f"slow-{uuid4().hex[:8]}"
        log = parts.log(c, "slow")
        projector = Projector(parts.redis)
        ws = await parts.socket("slow")
        await ws.send_json({"t": "sub", "id": 1, "c": c, "seq": 0})
        await frames_until(ws, {"t": "subbed"})
        connection = ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        (held,) = parts.gateway.door.open
        deadline = time.monotonic() + 60
        number, most = 0, 0
        while held in parts.gateway.door.open:
            assert time.monotonic() < deadline, "a client that reads nothing was not sent away"
            if number < 1200:
                first = len(log.events)
                log.exchange(f"m{number}", "q" * 8000, "a" * 8000)
                await projector.write(*log.events[first:])
                number += 1
            else:
                await asyncio.sleep(0.02)
            most = max(most, held._outbox.unsent)
        assert number > 100, "the kernel took everything: nothing was tested"
        assert most < 65_536 + 20_000


async def test_a_slow_client_is_caught_up_from_redis_when_it_reads_again(backing: Backing) -> None:
    async with running_gateway(backing, unsent_bytes=65_536) as parts:
        c = f"slow-{uuid4().hex[:8]}"
        log = parts.log(c, "slow")
        projector = Projector(parts.redis)
        ws = await parts.socket("slow")
        await ws.send_json({"t": "sub", "id": 1, "c": c, "seq": 0})
        await frames_until(ws, {"t": "subbed"})
        connection = ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        (held,) = parts.gateway.door.open
        number = 0
        while not held._outbox.full:
            assert number < 2000, "the client was never slow"
            first = len(log.events)
            log.exchange(f"m{number}", "q" * 100, "a" * 8000)
            await projector.write(*log.events[first:])
            number += 1
        first = len(log.events)
        log.exchange("last", "q", "a")
        await projector.write(*log.events[first:])
        connection.transport.resume_reading()
        seq = 0
        while seq < len(log.events):
            frame = await ws.receive_json(timeout=10)
            if frame["t"] == "snapshot":
                seq = frame["seq"]
            elif frame["t"] == "event":
                assert frame["seq"] == seq + 1
                seq = frame["seq"]


async def test_streamed_text_is_merged_but_its_first_piece_goes_at_once(backing: Backing) -> None:
    async with running_gateway(backing, token_merge_ms=200) as parts:
        c = f"fast-{uuid4().hex[:8]}"
        log = parts.log(c)
        projector = Projector(parts.redis)
        turn = log.started(log.received("m"))
        ws = await parts.socket()
        await ws.send_json({"t": "sub", "id": 1, "c": c, "seq": 0})
        await projector.write(*log.events)
        await frames_until(ws, {"t": "event", "type": "TurnStarted"})
        text = "".join(f"word{n} " for n in range(40))
        for at in range(0, len(text), 10):
            await projector.write(piece(turn, 1, text, at, min(at + 10, len(text))))
        await projector.write(log.completed(turn, text))
        frames = await frames_until(ws, {"t": "event", "type": "TurnCompleted"})
        stretches = [frame for frame in frames if frame["t"] == "tokens"]
        assert "".join(frame["text"] for frame in stretches) == text
        assert stretches[0]["text"] == text[:10]
        assert 2 <= len(stretches) < 20


# Departure and page


async def test_draining_sends_everyone_away_with_4499_and_is_no_longer_ready(parts: Parts) -> None:
    sockets = [await parts.socket(f"user-{n}") for n in range(4)]
    away = asyncio.create_task(parts.gateway.drain())
    for ws in sockets:
        code, bye = await verdict(ws)
        assert (code, bye["reconnect"]) == (4499, True)
        assert bye["after_ms"] >= 0
    await away
    async with parts.session.get(f"{parts.url}/readyz") as response:
        assert response.status == 503
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await parts.session.ws_connect(f"{parts.url}/v1/ws")
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"]


async def test_a_connection_that_never_finishes_its_request_is_closed(
    backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.HEADER_TIMEOUT_S", 1.0)
    async with running_gateway(backing) as parts:
        host, port = parts.gateway.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n")
        await writer.drain()
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_development_tokens_are_for_local_pages_only(parts: Parts) -> None:
    address = f"{parts.url}/dev/token"
    async with parts.session.post(address, json={"tenant": "demo", "sub": "guest"}) as response:
        assert response.status == 200
        assert (await response.json())["token"].count(".") == 2
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"X-Forwarded-For": "1.2.3.4"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        async with parts.session.post(address, json={}, headers=headers) as response:
            assert response.status == 403, headers


async def test_a_port_in_use_is_said_in_a_sentence(backing: Backing) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"can't listen on 127.0.0.1:{port}"):
            async with running_gateway(backing, port=port):
                pass
