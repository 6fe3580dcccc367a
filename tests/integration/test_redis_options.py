"""Options of Redis as an operator writes them, with both clients on a real server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis_sink_parts import RedisServer
from running_stack import wait_for
from tls_door import NAME, tls_door

from infra.settings import load_settings
from sinks.redis.connection import open_blocking_redis, open_redis

Call = Callable[..., Any]


class Opened:
    """Either client, asked in the same way."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def ping(self) -> bool:
        return bool(await self.told(self.client.ping))

    async def told(self, call: Call, *arguments: Any) -> Any:
        """What a call answers, on another thread where it would block."""
        if inspect.iscoroutinefunction(self.client.execute_command):
            return await call(*arguments)
        return await asyncio.to_thread(call, *arguments)

    async def close(self) -> None:
        await self.told(getattr(self.client, "aclose", self.client.close))


@pytest.fixture(params=[open_redis, open_blocking_redis])
async def opened(request: Any, tmp_path: Path) -> AsyncIterator[Callable[[str], Opened]]:
    """`opened(url)`: a client by the settings of the environment."""
    clients = []

    def at(url: str) -> Opened:
        client = Opened(request.param(load_settings(tmp_path, redis__url=url).redis))
        clients.append(client)
        return client

    yield at
    for client in clients:
        await client.close()


def set_options(monkeypatch: pytest.MonkeyPatch, **options: str) -> None:
    for name, written in options.items():
        monkeypatch.setenv(f"PARLEY_REDIS__OPTIONS__{name}", written)


async def test_numbers_and_switches_of_the_environment_reach_the_connection(
    server: RedisServer, opened: Callable[[str], Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(
        monkeypatch,
        SOCKET_CONNECT_TIMEOUT="3",
        SOCKET_TIMEOUT="0.2",
        SOCKET_KEEPALIVE="true",
        HEALTH_CHECK_INTERVAL="30",
        CLIENT_NAME="2024",
    )
    client = opened(server.url)
    assert await client.ping()
    assert (await client.told(client.client.client_info))["name"] == "2024"
    with pytest.raises(redis.TimeoutError):
        await client.told(client.client.blpop, ["nothing"], 5)


async def test_the_pool_takes_options_that_it_has_a_value_for_already(
    server: RedisServer, opened: Callable[[str], Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(monkeypatch, MAX_CONNECTIONS="1", TIMEOUT="0.05")
    client = opened(server.url)
    pool = client.client.connection_pool
    taken = await client.told(pool.get_connection)
    with pytest.raises(redis.ConnectionError, match="No connection available"):
        await client.ping()
    await client.told(pool.release, taken)
    assert await client.ping()


@pytest.mark.parametrize("password", ["1e5", "true", "0.10"])
async def test_a_password_that_looks_like_something_else_stays_as_it_is_written(
    server: RedisServer,
    opened: Callable[[str], Opened],
    monkeypatch: pytest.MonkeyPatch,
    password: str,
) -> None:
    with redis.Redis.from_url(server.url) as owner:
        owner.acl_setuser("42", enabled=True, passwords=[f"+{password}"], categories=["+@all"])
        owner.config_set("requirepass", "only for those who know")
    set_options(monkeypatch, USERNAME="42", PASSWORD=password)
    assert await opened(server.url).ping()


async def test_a_client_that_is_closed_hangs_up(
    server: RedisServer, opened: Callable[[str], Opened]
) -> None:
    client = opened(server.url)
    number = str(await client.told(client.client.client_id))
    with redis.Redis.from_url(server.url) as other:

        def is_gone() -> bool:
            return number not in [each["id"] for each in other.client_list()]

        assert not is_gone()
        await client.close()
        await asyncio.to_thread(wait_for, is_gone, "the connection to be closed", 5)


async def test_a_certificate_for_another_name_is_taken_where_the_options_say_so(
    server: RedisServer,
    opened: Callable[[str], Opened],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    async with tls_door(tmp_path, server.port) as door:
        url = f"rediss://127.0.0.1:{door.port}/0"
        set_options(monkeypatch, SSL_CA_CERTS=str(door.authority))
        with pytest.raises(redis.ConnectionError, match=f"CERTIFICATE_VERIFY_FAILED|{NAME}"):
            await opened(url).ping()
        set_options(monkeypatch, SSL_CHECK_HOSTNAME="false")
        assert await opened(url).ping()
