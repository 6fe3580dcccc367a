"""How large a text and a frame may be, to the byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from gateway_parts import Backing, Parts, running_gateway

TEXT_BYTES = 32 * 1024
FRAME_BYTES = 64 * 1024


@pytest.fixture
async def parts(backing: Backing) -> AsyncIterator[Parts]:
    async with running_gateway(backing) as parts:
        yield parts


def filled(bytes_: int, last: str) -> str:
    """A text of so many bytes in UTF-8 that ends with a given one."""
    return "x" * (bytes_ - len(last.encode())) + last


def as_sent(frame: dict[str, Any]) -> bytes:
    """UTF-8 as it is, since the escapes of JSON would make three bytes of one."""
    return json.dumps(frame, ensure_ascii=False).encode()


async def answer(parts: Parts, frame: dict[str, Any]) -> Any:
    ws = await parts.socket()
    await ws.send_frame(as_sent(frame), aiohttp.WSMsgType.TEXT)
    answered = await ws.receive_json(timeout=10)
    await ws.close()
    return answered


@pytest.mark.parametrize("last", ["x", "é", "€", "🧊", "🧊" * (TEXT_BYTES // 4)])
async def test_a_text_may_have_32_kib_and_not_a_byte_more(parts: Parts, last: str) -> None:
    frame = {"t": "send", "id": 7, "c": f"c-{uuid4().hex[:12]}", "mid": "m1"}
    ok = await answer(parts, {**frame, "body": {"text": filled(TEXT_BYTES, last)}})
    assert ok == {"t": "ok", "id": 7, "mid": "m1", "dup": False}
    for longer in (filled(TEXT_BYTES + 1, last), filled(TEXT_BYTES, last) + "x"):
        refused = await answer(parts, {**frame, "mid": "m2", "body": {"text": longer}})
        assert (refused["t"], refused["id"], refused["code"]) == ("err", 7, "invalid")


async def test_a_comment_has_the_same_bound(parts: Parts) -> None:
    frame = {"t": "feedback", "id": 7, "c": f"c-{uuid4().hex[:12]}", "mid": "m1", "turn": "t"}
    for more, kind in ((0, "ok"), (1, "err")):
        comment = filled(TEXT_BYTES + more, "🧊")
        assert (await answer(parts, {**frame, "score": 1, "comment": comment}))["t"] == kind


async def test_a_frame_may_have_64_kib_and_one_byte_more_ends_the_socket(parts: Parts) -> None:
    ws = await parts.socket()
    bare = {"t": "unsub", "id": 7, "c": "c", "x": ""}
    for size in (FRAME_BYTES, FRAME_BYTES + 1):
        frame = as_sent({**bare, "x": filled(size - len(as_sent(bare)), "🧊")})
        assert len(frame) == size
        await ws.send_frame(frame, aiohttp.WSMsgType.TEXT)
        if size == FRAME_BYTES:
            assert await ws.receive_json(timeout=10) == {"t": "ok", "id": 7}
    assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    assert ws.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
