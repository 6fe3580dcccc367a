"""What a process stands on: asked at the start, and every few seconds from then on.

So `/readyz` and `parley_dependency_up` say what is away now, also while no record comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from redis.exceptions import RedisError

from infra.clickhouse.errors import ClickHouseError
from infra.clickhouse.port import ClickHouse
from infra.settings.connections import KafkaSettings, RedisSettings
from infra.telemetry.health import Health
from infra.telemetry.metrics import Metrics
from schemas.failures import Unavailable
from schemas.topics import EVENTS
from sinks.redis.connection import open_redis, trouble_of

log = logging.getLogger(__name__)

EVERY_S = 3.0
ANSWER_S = 4.0
"""Whoever starts a process waits for so long to hear that something is away."""

Ask = Callable[[], Awaitable[str | None]]
"""Why a dependency can't be used now, in a sentence that says what to do; None if it answers."""


class Dependencies:
    """Asks the dependencies of one process. Made by `watched`."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self._troubles: dict[str, str | None] = {}
        self._asking: list[asyncio.Task[None]] = []

    async def need(self, name: str, ask: Ask) -> None:
        """Without it the process can't do its work. Raises `Unavailable` if it is away now."""
        trouble = await self._find_out(name, ask)
        if trouble is not None:
            raise Unavailable(trouble)
        self._health.watch(name, lambda: self._troubles[name])
        self._keep_asking(name, ask)

    async def use(self, name: str, ask: Ask) -> None:
        """Without it the process does its work less well: no reason not to start or be ready."""
        trouble = await self._find_out(name, ask)
        if trouble is not None:
            log.warning("%s", trouble)
        self._keep_asking(name, ask)

    async def close(self) -> None:
        """Asks no more."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _keep_asking(self, name: str, ask: Ask) -> None:
        async def ask_for_ever() -> None:
            while True:
                await asyncio.sleep(EVERY_S)
                before = self._troubles[name]
                trouble = await self._find_out(name, ask)
                if trouble is None and before is not None:
                    log.info("%s answers again", name)
                elif trouble is not None and before is None:
                    log.warning("%s", trouble)

        self._asking.append(asyncio.create_task(ask_for_ever(), name=f"ask-{name}"))

    async def _find_out(self, name: str, ask: Ask) -> str | None:
        trouble = self._troubles[name] = await ask()
        self._metrics.dependency_up.labels(name).set(trouble is None)
        return trouble


@asynccontextmanager
async def watched(health: Health, metrics: Metrics) -> AsyncIterator[Dependencies]:
    """Dependencies that are asked until the end of the block."""
    dependencies = Dependencies(health, metrics)
    try:
        yield dependencies
    finally:
        await dependencies.close()


def kafka_answers(settings: KafkaSettings) -> Ask:
    """Whether a broker answers, over a connection of its own."""
    client = AdminClient({"reconnect.backoff.max.ms": "1000", **settings.admin()})

    def trouble() -> str | None:
        try:
            client.list_topics(EVENTS.name, timeout=ANSWER_S)
        except KafkaException as error:
            return (
                f"Kafka at {settings.bootstrap_servers} does not answer "
                f"({error.args[0].name()}): check kafka.bootstrap_servers"
            )
        return None

    return lambda: asyncio.to_thread(trouble)


def redis_answers(settings: RedisSettings) -> Ask:
    """Whether Redis takes connections and answers on them."""
    place = urlsplit(settings.url).netloc.rpartition("@")[2]

    async def trouble() -> str | None:
        try:
            async with asyncio.timeout(ANSWER_S), open_redis(settings, connections_max=1) as redis:
                await redis.ping()
        except (RedisError, OSError) as error:
            return trouble_of(error, f"Redis at {place}")
        return None

    return trouble


def clickhouse_answers(clickhouse: ClickHouse, hint: str) -> Ask:
    """Whether ClickHouse answers a query; `hint` says what to do if it does not."""

    def trouble() -> str | None:
        try:
            clickhouse.query_rows("SELECT 1")
        except ClickHouseError as error:
            return f"{str(error).partition(chr(10))[0]}: {hint}"
        return None

    return lambda: asyncio.to_thread(trouble)
