"""The live feed on a real Redis that comes, goes, and falls silent without hanging up."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio
from redis_sink_parts import RedisServer

from gateway import bells as bells_module
from gateway.bells import Bells
from gateway.read_model import Logged
from gateway.server import _pubsub_connections
from gateway.token_merge import Stretch
from infra.settings.connections import RedisSettings
from sinks.redis.keys import conversation_keys

KEYS = conversation_keys("demo", "c-1")
EVENT = b'{"t":"event","c":"c-1","seq":1,"type":"ConversationStarted","data":{}}'


class Heard:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Logged] = []
        self.attached = 0

    def on_event(self, event: Logged) -> None:
        self.events.append(event)

    def on_stretch(self, stretch: Stretch) -> None:
        raise AssertionError("nothing streams here")

    def on_attached(self) -> None:
        self.attached += 1


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + 10
    while True:
        held = holds()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < deadline, "it does not come true"
        await asyncio.sleep(0.01)


async def test_a_channel_is_followed_only_while_somebody_listens(
    server: RedisServer, connection: redis.asyncio.Redis
) -> None:
    bells = Bells(_pubsub_connections(RedisSettings(url=server.url)))
    bells.start()
    first, second = Heard(), Heard()
    feed = bells.attach(KEYS, "c-1", first)
    await until(feed.attached.is_set)
    bells.detach(KEYS, first)
    assert bells.attach(KEYS, "c-1", second) is not feed
    await until(lambda: bells._feeds[KEYS.bell].attached.is_set())
    await connection.publish(KEYS.bell, EVENT)
    await until(lambda: [event.seq for event in second.events] == [1])
    assert first.events == []
    bells.detach(KEYS, second)

    async def nobody_follows() -> bool:
        return not await connection.pubsub_channels()

    await until(nobody_follows)
    await bells.close()


async def test_a_redis_that_falls_silent_is_left_and_found_again(
    server: RedisServer, connection: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells_module, "QUIET_S", 0.1)
    monkeypatch.setattr(bells_module, "SILENT_S", 0.4)
    states: list[bool] = []
    bells = Bells(_pubsub_connections(RedisSettings(url=server.url)), on_state=states.append)
    bells.start()
    heard = Heard()
    feed = bells.attach(KEYS, "c-1", heard)
    await until(feed.attached.is_set)

    async def pinged_for_long() -> bool:
        counts = await connection.info("commandstats")
        return bool(counts.get("cmdstat_ping", {"calls": 0})["calls"] >= 8)

    await until(pinged_for_long)
    assert states == [True], "its pings are answered, so it is alive"
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        await until(lambda: states[-1] is False)
        assert not feed.attached.is_set()
    finally:
        server.process.send_signal(signal.SIGCONT)
    await until(feed.attached.is_set)
    await connection.publish(KEYS.bell, EVENT)
    await until(lambda: len(heard.events) == 1)
    await bells.close()
