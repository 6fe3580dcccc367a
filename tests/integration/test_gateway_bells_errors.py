"""The live feed on a real Redis outlives what nobody expects."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
from redis_sink_parts import RedisServer
from test_gateway_bells import EVENT, KEYS, Heard, until

import gateway.bells as bells_module
from gateway.bells import Bells
from gateway.server import _pubsub_connections
from infra.settings.connections import RedisSettings


async def test_a_malformed_frame_costs_neither_the_connection_nor_the_next_frame(
    server: RedisServer, connection: redis.asyncio.Redis
) -> None:
    states: list[bool] = []
    bells = Bells(_pubsub_connections(RedisSettings(url=server.url)), on_state=states.append)
    bells.start()
    heard = Heard()
    feed = bells.attach(KEYS, "c-1", heard)
    await until(feed.attached.is_set)
    await connection.publish(KEYS.bell, b"no frame")
    await connection.publish(KEYS.bell, EVENT)
    await until(lambda: [event.seq for event in heard.events] == [1])
    assert states == [True]
    assert heard.attached == 2, "once when it was attached, once since something may be missing"
    await bells.close()


class Clumsy(Heard):
    """A listener with a defect that shows once."""

    def on_attached(self) -> None:
        super().on_attached()
        if self.attached == 1:
            raise RuntimeError("the first time")


async def test_an_error_that_nobody_expects_costs_a_connection_and_the_feed_goes_on(
    server: RedisServer, connection: redis.asyncio.Redis
) -> None:
    states: list[bool] = []
    bells = Bells(_pubsub_connections(RedisSettings(url=server.url)), on_state=states.append)
    bells.start()
    heard = Clumsy()
    bells.attach(KEYS, "c-1", heard)
    await until(lambda: heard.attached == 2)
    assert states == [True, False, True]
    await connection.publish(KEYS.bell, EVENT)
    await until(lambda: [event.seq for event in heard.events] == [1])
    await bells.close()


async def test_a_redis_that_takes_the_connection_and_says_nothing_is_tried_again(
    server: RedisServer, connection: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells_module, "QUIET_S", 0.2)
    deaf = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    port = deaf.sockets[0].getsockname()[1]
    at_first = _pubsub_connections(RedisSettings(url=f"redis://127.0.0.1:{port}"))
    later = _pubsub_connections(RedisSettings(url=server.url))
    connects = iter([at_first, later])
    bells = Bells(lambda: next(connects)())
    bells.start()
    heard = Heard()
    feed = bells.attach(KEYS, "c-1", heard)
    await until(feed.attached.is_set)
    await bells.close()
    deaf.close()


def test_the_pause_between_tries_has_a_bound_however_many_failed() -> None:
    assert all(0 < bells_module._pause_s(failures) <= 2 for failures in (1, 10, 5_000))
