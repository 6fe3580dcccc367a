"""Texts of earlier turns from a real Redis that lags, stands still and comes back."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from redis_sink_parts import RedisServer

from infra.keys import Sealer, open_sealer
from infra.settings import Settings
from infra.settings.connections import RedisSettings
from processors.answering.context import EarlierTurn
from sinks.redis.connection import open_redis
from sinks.redis.keys import FRAME, conversation_keys, entry_id
from streams.answering.history import History

KEYS = conversation_keys("demo", "c-1")
QUESTION = {"type": "MessageAnalysed", "mid": "m1", "data": {"text": "I lost my card"}}
ASKED = ((EarlierTurn("I lost my card"),), True)


@pytest.fixture
def sealer(tmp_path: Path) -> Iterator[Sealer]:
    opened = open_sealer(Settings(data_dir=tmp_path).keys)
    yield opened
    opened.close()


@pytest.fixture
async def asked(
    server: RedisServer, connection: redis.asyncio.Redis
) -> AsyncIterator[redis.asyncio.Redis]:
    """How the answering stage talks to a Redis that has one question."""
    await connection.xadd(KEYS.log, {FRAME: json.dumps(QUESTION)}, id=entry_id(3))
    await connection.hset(KEYS.view, "seq", 3)
    opened = open_redis(RedisSettings(url=server.url))
    yield opened
    await opened.aclose()


async def test_without_a_wait_redis_is_still_looked_at_once(
    asked: redis.asyncio.Redis, sealer: Sealer
) -> None:
    history = History(asked, sealer, wait_ms=0)
    assert await history.earlier("demo", "c-1", [3]) == ASKED
    assert await history.earlier("demo", "c-1", [3, 7]) == (ASKED[0], False)


async def test_after_a_redis_that_stood_still_texts_are_found_again(
    server: RedisServer, asked: redis.asyncio.Redis, sealer: Sealer
) -> None:
    history = History(asked, sealer, wait_ms=500)
    assert await history.earlier("demo", "c-1", [3]) == ASKED
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert await history.earlier("demo", "c-1", [3]) == ((), False)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert await history.earlier("demo", "c-1", [3]) == ASKED
