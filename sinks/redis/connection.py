"""Opens Redis from the settings, the same way for everyone who talks to it."""

from __future__ import annotations

from typing import Any

import redis
import redis.retry
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from infra.settings.connections import RedisSettings

SOCKET_TIMEOUT_S = 5.0
POOL_WAIT_S = 5.0


def open_redis(settings: RedisSettings, *, connections_max: int = 16) -> Redis:
    """A client that speaks bytes and connects at its first command.

    A command that meets a broken connection is sent once more over a new one, so every write must
    be one that may be repeated.
    """
    pool = BlockingConnectionPool.from_url(
        settings.url,
        max_connections=connections_max,
        timeout=POOL_WAIT_S,
        **(_options(settings) | {"retry": Retry(NoBackoff(), 1)} | settings.options),
    )
    return Redis(connection_pool=pool)


def open_blocking_redis(settings: RedisSettings) -> redis.Redis:
    """The same for code that has no event loop."""
    retry = redis.retry.Retry(NoBackoff(), 1)
    options = _options(settings) | {"retry": retry} | settings.options
    return redis.Redis.from_url(settings.url, **options)


def _options(settings: RedisSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
    }
    if settings.username:
        options["username"] = settings.username
    if settings.password is not None:
        options["password"] = settings.password.get_secret_value()
    return options
