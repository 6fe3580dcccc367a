"""A running process knows what is away, and when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from clickhouse_process import Spawned
from redis_sink_parts import RedisServer

from infra.clickhouse.remote import RemoteClickHouse
from infra.settings.connections import RedisSettings
from infra.telemetry.health import Health
from infra.telemetry.metrics import Metrics
from parley.processes import dependencies
from parley.processes.dependencies import (
    Dependencies,
    clickhouse_answers,
    redis_answers,
    watched,
)
from schemas.failures import Unavailable


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def asked(
    health: Health, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Dependencies]:
    """Dependencies of a process that looks at them very often."""
    monkeypatch.setattr(dependencies, "EVERY_S", 0.02)
    async with watched(health, metrics) as found:
        yield found


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        await asyncio.sleep(0.01)


def up(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("parley_dependency_up", {"dependency": name})


async def test_readiness_and_metric_follow_a_redis_that_goes_and_comes_back(
    server: RedisServer, asked: Dependencies, health: Health, metrics: Metrics
) -> None:
    await asked.need("redis", redis_answers(RedisSettings(url=server.url)))
    assert health.ready
    assert up(metrics, "redis") == 1
    server.kill()
    await until(lambda: not health.ready)
    assert "check redis.url" in str(health.report()["checks"])
    assert up(metrics, "redis") == 0
    server.start()
    await until(lambda: health.ready)
    assert up(metrics, "redis") == 1


async def test_readiness_and_metric_follow_a_clickhouse_that_goes(
    tmp_path: Path, asked: Dependencies, health: Health, metrics: Metrics
) -> None:
    engine = await asyncio.to_thread(Spawned, tmp_path)
    try:
        clickhouse = RemoteClickHouse(engine.url, token="owner-token", timeout_s=5)
        await asked.need("clickhouse", clickhouse_answers(clickhouse, "check clickhouse.url"))
        assert health.ready
        assert up(metrics, "clickhouse") == 1
        await asyncio.to_thread(engine.kill)
        await until(lambda: not health.ready)
        assert "check clickhouse.url" in str(health.report()["checks"])
        assert up(metrics, "clickhouse") == 0
    finally:
        await asyncio.to_thread(engine.close)


async def test_what_is_needed_is_refused_while_it_is_away_and_what_is_only_used_is_not(
    server: RedisServer, asked: Dependencies, health: Health, metrics: Metrics
) -> None:
    server.kill()
    ask = redis_answers(RedisSettings(url=server.url))
    with pytest.raises(Unavailable, match=r"check redis\.url"):
        await asked.need("redis", ask)
    await asked.use("redis", ask)
    assert health.ready
    assert up(metrics, "redis") == 0
    server.start()
    await until(lambda: up(metrics, "redis") == 1)


async def test_a_password_is_no_part_of_what_is_said() -> None:
    address = RedisSettings(url="redis://somebody:hunter2@127.0.0.1:1/0")
    said = await redis_answers(address)()
    assert said is not None
    assert said.startswith("Redis at 127.0.0.1:1 does not answer")
    assert "hunter2" not in said
