"""What several of these tests need: a Redis of their own, a connection to it, a gateway's parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from gateway_parts import Backing, backing_of
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


@pytest.fixture(scope="module")
def backing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backing]:
    with backing_of(request, tmp_path_factory.mktemp("redis")) as backing:
        yield backing
