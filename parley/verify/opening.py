"""Opens all that a verification compares, from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra.clickhouse.remote import RemoteClickHouse
from infra.settings.connections import ClickHouseSettings
from infra.settings.loading import Settings
from parley.verify.reading import LogReader, RedisReader, SnapshotReader
from parley.verify.verification import Sources
from parley.wiring import Wiring
from schemas.topics import CONVERSATIONS, EVENTS
from sinks.redis.connection import open_blocking_redis


@contextmanager
def open_sources(settings: Settings) -> Iterator[Sources]:
    """Everything that is compared. Raises `Unavailable` with a sentence for what is away."""
    wiring = Wiring(settings, "verify")
    redis = open_blocking_redis(settings.redis)
    clickhouse = open_clickhouse(settings.clickhouse)
    try:
        wiring.check_log()
        yield Sources(
            LogReader(wiring.wire(EVENTS), wiring.kafka),
            SnapshotReader(wiring.wire(CONVERSATIONS), wiring.kafka),
            RedisReader(redis),
            clickhouse,
            wiring.sealer,
            wiring.events_topic_id(),
            settings.clickhouse.database,
        )
    finally:
        clickhouse.close()
        redis.close()
        wiring.close()


def open_clickhouse(settings: ClickHouseSettings) -> RemoteClickHouse:
    """ClickHouse over HTTP, as the settings say."""
    password = "" if settings.password is None else settings.password.get_secret_value()
    return RemoteClickHouse(
        settings.url,
        user=settings.user,
        password=password,
        database=settings.database,
        options=settings.options,
    )
