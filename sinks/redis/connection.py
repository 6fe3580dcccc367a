"""Opens Redis from the settings, the same way for everyone who talks to it."""

from __future__ import annotations

from typing import Any

import redis
import redis.retry
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from infra.settings.connections import RedisSettings
from schemas.failures import Unavailable

SOCKET_TIMEOUT_S = 5.0
POOL_WAIT_S = 5.0
CONNECTIONS_MAX = 16


def open_redis(settings: RedisSettings, *, connections_max: int = CONNECTIONS_MAX) -> Redis:
    """A client that speaks bytes and connects at its first command.

    A command that meets a broken connection is sent once more over a new one, so every write must
    be one that may be repeated.
    """
    options = _options(settings, connections_max, Retry(NoBackoff(), 1))
    return Redis.from_pool(BlockingConnectionPool.from_url(settings.url, **options))


def open_blocking_redis(settings: RedisSettings) -> redis.Redis:
    """The same for code that has no event loop."""
    options = _options(settings, CONNECTIONS_MAX, redis.retry.Retry(NoBackoff(), 1))
    return redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(settings.url, **options))


def trouble_of(error: Exception, place: str = "Redis") -> str:
    """What an operator should know of an error; not its text, which can repeat what was sent."""
    if isinstance(error, redis.ResponseError):
        code = str(error).partition(" ")[0]
        hint = "its disk is full or broken" if code == "MISCONF" else "its log says why"
        return f"{place} refuses commands ({code}): {hint}"
    return f"{place} does not answer ({type(error).__name__}): check redis.url"


def away(error: Exception) -> Unavailable:
    """The same, to be raised."""
    return Unavailable(trouble_of(error))


def _options(settings: RedisSettings, connections_max: int, retry: Any) -> dict[str, Any]:
    """Ours, under those of the settings: every option of a connection and of its pool."""
    options: dict[str, Any] = {
        "max_connections": connections_max,
        "timeout": POOL_WAIT_S,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": retry,
    }
    if settings.username:
        options["username"] = settings.username
    if settings.password is not None:
        options["password"] = settings.password.get_secret_value()
    return options | settings.options
