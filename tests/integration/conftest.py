"""What several of these tests need: a Redis of their own, and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from redis_sink_parts import RedisServer, client, running_redis


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
async def connection(server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    opened = client(server.url)
    yield opened
    await opened.aclose()
