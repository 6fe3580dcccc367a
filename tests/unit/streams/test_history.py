"""Texts of earlier turns: a Redis that does not answer costs context, and no more than the wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from conversation_story import TENANT
from turn_parts import Person

from infra.keys import Sealer
from infra.settings.connections import RedisSettings
from processors.answering.context import EarlierTurn
from sinks.redis.connection import SOCKET_TIMEOUT_S, open_redis
from streams.answering.history import History


@pytest.fixture
async def silent_redis() -> AsyncIterator[str]:
    """Takes connections and never says a word."""
    gone = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gone.set()


@pytest.mark.parametrize("wait_ms", [0, 100])
async def test_a_silent_redis_is_not_waited_for_longer_than_said(
    silent_redis: str, sealer: Sealer, alice: Person, wait_ms: int
) -> None:
    redis = open_redis(RedisSettings(url=silent_redis))
    history = History(redis, sealer, wait_ms=wait_ms)
    for event in alice.lives(alice.says("I lost my card"), alice.analysed(2, "I lost my card")):
        history.remember(event)
    began = time.monotonic()
    turns, complete = await history.earlier(TENANT, alice.conversation, [1, 3])
    assert time.monotonic() - began < SOCKET_TIMEOUT_S / 2
    assert turns == (EarlierTurn("I lost my card"),)
    assert not complete
    await redis.aclose()
