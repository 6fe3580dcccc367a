"""What an attacker may try: it ends with the right code, breaks nothing and tells nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

from gateway import replies
from sinks.redis.keys import conversation_keys

SECRET = "secret answer"


@pytest.fixture
async def parts(backing: Backing, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Parts]:
    """A gateway that must find nothing worth a warning in all that is done to it."""
    caplog.set_level(logging.WARNING)
    async with running_gateway(backing, sockets_per_user=100) as parts:
        yield parts
    complaints = [record for record in caplog.get_records("call") if record.name != "asyncio"]
    assert [record.getMessage() for record in complaints] == []


# Requests

TOKEN = base64.urlsafe_b64encode(b"secret.to.ken").decode()
UPGRADE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SPEAKS = b"Sec-WebSocket-Protocol: chat.v1"


@asynccontextmanager
async def spoken(parts: Parts, *pieces: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """What the gateway says to some bytes."""
    host, port = parts.gateway.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"".join(pieces))
    async with asyncio.timeout(10):
        yield reader
    writer.close()


def request(line: str, *headers: bytes, host: bytes = b"127.0.0.1", body: bytes = b"") -> bytes:
    length = b"Content-Length: %d" % len(body)
    lines = [f"{line} HTTP/1.1".encode(), b"Host: " + host, length, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def status(parts: Parts, asked: bytes) -> int:
    async with spoken(parts, asked) as reader:
        return int((await reader.readline()).split()[1])


async def close_code(parts: Parts, *pieces: bytes) -> int:
    """The code that a socket is closed with, once it was opened and whatever it was sent before."""
    async with spoken(parts, *pieces) as reader:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        while True:
            kind, size = await reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
            payload = await reader.readexactly(size)
            if kind & 0x0F == aiohttp.WSMsgType.CLOSE:
                return int.from_bytes(payload[:2])


async def test_a_malformed_upgrade_is_refused_with_its_status(parts: Parts) -> None:
    """Not with 500; and no token reaches a log, as aiohttp's would of a second header."""
    bearer = f"Sec-WebSocket-Protocol: base64url.bearer.{TOKEN}".encode()
    for headers, wanted in (
        ([b"Authorization: Bearer \xff.\xfe.x"], 401),
        ([b"Authorization: Basic eA=="], 401),
        ([b"Origin: http://["], 403),
        ([b"Origin: http://\xff"], 403),
        ([b"Sec-WebSocket-Protocol: CHAT.V1"], 400),
        ([bearer], 400),
        ([bearer, SPEAKS], 400),
        ([SPEAKS, bearer], 400),
    ):
        asked = request("GET /v1/ws", *UPGRADE, *headers)
        assert await status(parts, asked) == wanted, headers


async def test_a_browser_is_told_the_same_by_a_close_code(parts: Parts) -> None:
    for header, code in (
        (b"Authorization: Bearer \xff.\xfe.x", 4500),
        (b"Origin: http://[", 4507),
    ):
        asked = request("GET /v1/ws", *UPGRADE, SPEAKS, header)
        assert await close_code(parts, asked) == code, header
    for bearer in (b"\xff", b"", b"%5B", b"W1tb", b"W1tb.W1tb"):
        offer = b"Sec-WebSocket-Protocol: chat.v1, base64url.bearer." + bearer
        asked = request("GET /v1/ws", *UPGRADE, offer)
        assert await close_code(parts, asked) == 4500, bearer


async def test_the_page_and_its_tokens_stand_what_is_asked_of_them(parts: Parts) -> None:
    token = "POST /dev/token"
    for asked, wanted in (
        (request(token, body=b"{}"), 200),
        (request(token, b"Origin: http://[", body=b"{}"), 403),
        (request(token, host=b"[", body=b"{}"), 403),
        (request(token, host=b"evil.example", body=b"{}"), 403),
        (request(token, body=b"[" * 100_000), 400),
        (request(token, body=b'{"sub":"\\ud800"}'), 400),
        (request(token, body=b'{"sub":"\xff"}'), 400),
        (request(token, body=b'{"tenant":"demo\\n"}'), 400),
        (request(token, body=b'{"tenant":"demo","tenant":"a:b"}'), 400),
        (request("GET /page/..%2fauth.py"), 404),
        (request("GET /page/%2e%2e/auth.py"), 404),
        (request("GET /page/%00"), 404),
        (request("GET /page/"), 403),
    ):
        assert await status(parts, asked) == wanted, asked[:200]


# The wire


def frame(kind: int, payload: bytes = b"", *, first: int = 0x80, size: int | None = None) -> bytes:
    """A masked frame; its mask is zero, so that the payload stands as it is."""
    length = len(payload) if size is None else size
    if length < 126:
        head = bytes((first | kind, 0x80 | length))
    elif length < 65_536:
        head = bytes((first | kind, 0x80 | 126)) + struct.pack("!H", length)
    else:
        head = bytes((first | kind, 0x80 | 127)) + struct.pack("!Q", length)
    return head + b"\0\0\0\0" + payload


GOES_ON, TEXT, CLOSE, PING = 0, 1, 8, 9
MORE = 0x00
"""The first byte of a frame that is not the last of its message."""


async def test_what_is_no_websocket_any_more_is_closed_by_its_own_codes(parts: Parts) -> None:
    hello = json.dumps({"t": "hello", "v": 1, "token": parts.token()}).encode()
    begun = request("GET /v1/ws", *UPGRADE, SPEAKS) + frame(TEXT, hello)
    half = frame(TEXT, b"x" * 60_000, first=MORE)
    for name, sent, code in (
        ("compressed", frame(TEXT, b"{}", first=0xC0), 1002),
        ("an unknown kind", frame(3, b"{}"), 1002),
        ("it goes on from nothing", frame(GOES_ON, b"{}"), 1002),
        ("it begins twice", frame(TEXT, b"{", first=MORE) + frame(TEXT, b"}"), 1002),
        ("a large ping", frame(PING, b"x" * 126), 1002),
        ("a torn ping", frame(PING, first=MORE), 1002),
        ("no text in close", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("huge", frame(TEXT, size=2**63), 1009),
        ("huge in parts", half + frame(GOES_ON, b"x" * 60_000), 1009),
    ):
        assert await close_code(parts, begun, sent) == code, name


# Frames

NESTED = b"[" * 900 + b"]" * 900
NO_JSON = (
    b"[" * 60_000,
    b'{"t":' * 10_000,
    b'{"t":"sub","id":7,"c":"c","seq":NaN}',
    b'{"t":"sub","id":7,"c":"c","seq":-Infinity}',
    b'{"t":"sub","id":7,"c":"c","seq":1e400}',
    b'{"t":"sub","id":7,"c":"c","seq":1' + b"0" * 60_000 + b"}",
    b'{"t":"unsub","id":"\\udc00\\ud800","c":"c"}',
    b'{"t":"unsub","id":"\xed\xa0\x80","c":"c"}',
    b'{"\\ud800":1,"t":"unsub","id":7,"c":"c"}',
    b'{"t":"unsub","id":"\xc0\x80","c":"c"}',
    b'\xef\xbb\xbf{"t":"unsub","id":7,"c":"c"}',
    b'{"t":"unsub","id":7,"c":"c"}\0',
    b'{"t":"unsub","id":7,"c":"c"}{}',
    b"",
)
STRANGE: tuple[tuple[bytes, int | None, str | None], ...] = (
    (b'{"t":"send","id":7,"c":"c","mid":"m","body":{"text":%s}}' % NESTED, 7, "invalid"),
    (b'{"t":"send","id":%s,"c":"c","mid":"m"}' % NESTED, None, "invalid"),
    (b'{"t":"sub","id":7,"c":"c","seq":18446744073709551616}', 7, "invalid"),
    (b'{"t":"sub","id":7,"c":"c","at":-1}', 7, "invalid"),
    (b'{"t":"sub","id":9223372036854775808,"c":"c"}', None, "invalid"),
    (b'{"t":"feedback","id":7,"c":"c","mid":"m","turn":"t","score":1.0}', 7, "invalid"),
    (b'{"t":"__class__","id":7}', 7, "unknown_frame"),
    (b'{"t":"%s","id":7}' % (b"x" * 60_000), 7, "unknown_frame"),
    (b'{"t":"hello","v":1,"id":7}', 7, "invalid"),
    (b'{"t":"dance","t":"unsub","id":7,"c":"c"}', 7, None),
    (b'{"t":"unsub","id":7,"c":"c","x":%s}' % NESTED, 7, None),
)


async def test_what_is_no_json_ends_the_socket_with_4501(parts: Parts) -> None:
    for sent in NO_JSON:
        ws = await parts.socket()
        await ws.send_frame(sent, aiohttp.WSMsgType.TEXT)
        assert (await ws.receive_json(timeout=10))["code"] == 4501, sent[:80]
        assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
        assert ws.close_code == 4501


async def test_a_strange_frame_is_answered_in_few_words_and_the_socket_stays(parts: Parts) -> None:
    """Of a name that comes twice the last one counts."""
    ws = await parts.socket()
    for sent, frame_id, code in STRANGE:
        await ws.send_frame(sent, aiohttp.WSMsgType.TEXT)
        answer = await ws.receive_json(timeout=10)
        assert (answer["id"], answer.get("code")) == (frame_id, code), sent[:80]
        assert len(json.dumps(answer)) < 300


# Cursors


async def speaking(parts: Parts, sub: str, tenant: str) -> aiohttp.ClientWebSocketResponse[bool]:
    ws = await parts.socket(hello=False)
    await ws.send_json({"t": "hello", "v": 1, "token": parts.token(sub, tenant=tenant)})
    await frames_until(ws, {"t": "welcome"})
    return ws


async def told(ws: aiohttp.ClientWebSocketResponse[bool]) -> list[dict[str, Any]]:
    """What the socket was sent; a frame that changes nothing is answered behind it."""
    await ws.send_json({"t": "unsub", "id": "told", "c": "nothing"})
    return (await frames_until(ws, {"t": "ok", "id": "told"}))[:-1]


@pytest.mark.parametrize(
    ("sub", "tenant"),
    [("mallory", "demo"), ("mallory", "harvest"), ("alice", "harvest")],
    ids=["a stranger", "another tenant", "the same name in another tenant"],
)
async def test_a_stolen_cursor_opens_nothing_while_the_answer_is_written_or_after_it(
    parts: Parts, sub: str, tenant: str
) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log, projector = parts.log(c), Projector(parts.redis)
    log.exchange("m0", "a secret question", SECRET)
    turn = log.started(log.received("m1"))
    await projector.write(*log.events, piece(turn, 1, SECRET, 0, 6))
    owner = await speaking(parts, "alice", "demo")
    stolen = {"epoch": "epoch-1", "seq": 4, "turn": turn.turn_id, "attempt": 1, "at": 0}
    await owner.send_json({"t": "sub", "id": 1, "c": c, **stolen})
    assert (await frames_until(owner, {"t": "tokens"}))[-1]["text"] == "secret"
    thief = await speaking(parts, sub, tenant)
    for position in (stolen, {**stolen, "seq": 0}, {"seq": 2**53}, {}):
        await thief.send_json({"t": "sub", "id": 1, "c": c, **position})
        frames = await frames_until(thief, {"id": 1})
        if tenant == "demo":
            assert frames[-1]["code"] == "forbidden"
        else:
            assert (frames[-1]["t"], frames[-1]["head"]) == ("subbed", 0)
    await projector.write(piece(turn, 1, SECRET, 6, 13), log.completed(turn, SECRET))
    await frames_until(owner, {"t": "event", "type": "TurnCompleted"})
    frames = await told(thief)
    assert "secret" not in json.dumps(frames)
    assert not any(frame["t"] in ("event", "tokens") for frame in frames)


async def test_who_waits_for_a_turn_by_name_hears_nothing_of_it_before_it_has_an_owner(
    parts: Parts,
) -> None:
    """Live text rings on its own, and nothing but the log says whose it is."""
    c = f"c-{uuid4().hex[:12]}"
    log = parts.log(c)
    turn = log.started(log.received("m1")).turn_id
    position = {"seq": 0, "turn": turn, "attempt": 1, "at": 0}
    thief = await speaking(parts, "mallory", "demo")
    await thief.send_json({"t": "sub", "id": 1, "c": c, **position})
    await frames_until(thief, {"t": "subbed"})
    text = replies.tokens(c, turn, 1, 0, SECRET)
    heard = await parts.redis.publish(conversation_keys("demo", c).bell, text)
    assert heard == 1
    await Projector(parts.redis).write(*log.events)
    frames = await frames_until(thief, {"t": "err", "c": c})
    assert [frame["t"] for frame in frames] == ["err"]
    assert frames[-1]["code"] == "forbidden"


async def test_nobody_ends_or_rates_what_is_not_theirs(parts: Parts) -> None:
    c = f"c-{uuid4().hex[:12]}"
    log = parts.log(c)
    turn = log.exchange("m0", "a question", "an answer").turn_id
    await Projector(parts.redis).write(*log.events)
    ws = await speaking(parts, "mallory", "demo")
    for number, fields in enumerate(
        (
            {"t": "send", "body": {"text": "hello"}},
            {"t": "feedback", "turn": turn, "score": -1},
            {"t": "cancel", "turn": turn},
            {"t": "close"},
        )
    ):
        await ws.send_json({"id": number, "c": c, "mid": f"m{number}", **fields})
        answer = await ws.receive_json(timeout=10)
        assert (answer["id"], answer.get("code")) == (number, "forbidden")
