"""Opens Redis from the settings, the same way for everyone who talks to it."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.settings.connections import RedisSettings

SOCKET_TIMEOUT_S = 5.0
POOL_WAIT_S = 5.0


def open_redis(settings: RedisSettings, *, connections_max: int = 16) -> Redis:
    """A client that speaks bytes and connects at its first command.

    A command that meets a broken connection is sent once more over a new one, so every write must
    be one that may be repeated.
    """
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 1),
    }
    if settings.username:
        options["username"] = settings.username
    if settings.password is not None:
        options["password"] = settings.password.get_secret_value()
    pool = BlockingConnectionPool.from_url(
        settings.url,
        max_connections=connections_max,
        timeout=POOL_WAIT_S,
        **(options | settings.options),
    )
    return Redis(connection_pool=pool)
