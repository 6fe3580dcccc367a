"""A gateway on the real log, registry and Redis for tests, and raw sockets that can be cut."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis.asyncio
from redis_sink_parts import (
    EVENTS_0,
    TOKENS_0,
    ConversationLog,
    PlainOpener,
    RedisServer,
    piece,
    running_redis,
)

from gateway.dev_tokens import dev_token
from gateway.server import Gateway, open_gateway
from infra.keys import open_sealer, read_or_create_secret
from infra.schema_registry import SchemaRegistry
from infra.settings.loading import Settings, load_settings
from schemas.events import ConversationStarted
from schemas.topics import EVENTS, key_of
from sinks.port import Delivery, TopicPartition
from sinks.redis.sink import RedisSink

__all__ = ["piece"]

EPOCH = "epoch-1"


@dataclass(frozen=True)
class Backing:
    """What a gateway stands on: the log and the registry of the stack, and a Redis of its own.

    Its own, since the stack's Redis is written by the stack's sink, and here the tests write.
    """

    folder: Path
    redis: RedisServer

    @property
    def redis_url(self) -> str:
        return self.redis.url


@contextmanager
def backing_of(request: pytest.FixtureRequest, redis_folder: Path) -> Iterator[Backing]:
    """On the stack of this run; `GATEWAY_TEST_STACK` names the folder of one that is up already."""
    given = os.environ.get("GATEWAY_TEST_STACK")
    folder = Path(given) if given else request.getfixturevalue("stack").folder
    with running_redis(redis_folder) as server:
        yield Backing(folder, server)


def registry(settings: Settings) -> SchemaRegistry:
    return SchemaRegistry(settings.registry.url)


@dataclass
class Parts:
    """A running gateway and what a test needs around it."""

    settings: Settings
    gateway: Gateway
    redis: redis.asyncio.Redis
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://{self.gateway.address}"

    def token(self, sub: str = "alice", tenant: str = "demo", **claims: Any) -> str:
        path = self.settings.auth.dev_secret_file
        assert path is not None
        return dev_token(read_or_create_secret(path), tenant_id=tenant, sub=sub, **claims)

    def subject(self, sub: str = "alice", tenant: str = "demo") -> str:
        sealer = open_sealer(self.settings.keys)
        try:
            return sealer.identify(tenant, sub).subject
        finally:
            sealer.close()

    def log(self, conversation: str, sub: str = "alice", tenant: str = "demo") -> OwnedLog:
        """The log of a conversation that belongs to a person."""
        return OwnedLog(
            tenant,
            conversation,
            start_us=time.time_ns() // 1000,
            owner=self.subject(sub, tenant),
        )

    async def socket(
        self, sub: str = "alice", *, hello: bool = True, **options: Any
    ) -> aiohttp.ClientWebSocketResponse[bool]:
        ws = await self.session.ws_connect(
            f"{self.url}/v1/ws", protocols=("chat.v1",), compress=0, **options
        )
        if hello:
            await ws.send_json({"t": "hello", "v": 1, "token": self.token(sub)})
            assert (await ws.receive_json(timeout=10))["t"] == "welcome"
        return ws


@asynccontextmanager
async def running_gateway(backing: Backing, **gateway: Any) -> AsyncIterator[Parts]:
    settings = load_settings(
        backing.folder,
        redis={"url": backing.redis_url},
        gateway={"port": 0, "drain_ms": 100, **gateway},
    )
    parts = await open_gateway(settings, schema_ids=registry(settings))
    connection = redis.asyncio.Redis.from_url(settings.redis.url)
    await connection.set("parley:epoch", EPOCH)
    await parts.start()
    session = aiohttp.ClientSession()
    try:
        yield Parts(settings, parts, connection, session)
    finally:
        await session.close()
        await parts.drain()
        await parts.close()
        await connection.aclose()


@dataclass
class OwnedLog(ConversationLog):
    """A conversation's log that belongs to a given pseudonym."""

    owner: str = "p-1"

    def _append(self, kind: type, **fields: Any) -> Any:
        if kind is ConversationStarted:
            fields["owner"] = self.owner
        return super()._append(kind, **fields)


class Projector:
    """Writes records into Redis as the sink's engine would, one at a time if need be."""

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._sinks: dict[TopicPartition, tuple[RedisSink, int]] = {}

    async def write(self, *records: Any) -> None:
        for record in records:
            source = EVENTS_0 if type(record) in EVENTS.records else TOKENS_0
            sink, offset = await self._sink(source)
            position = await sink.write(
                source, [Delivery(*source, offset, 1, record, key_of(record), None)], _no_commit
            )
            self._sinks[source] = (sink, position.offset)

    async def _sink(self, source: TopicPartition) -> tuple[RedisSink, int]:
        if source not in self._sinks:
            sink = RedisSink(self._redis, PlainOpener(), epoch=EPOCH)
            start = await sink.assigned({source: None})
            self._sinks[source] = (sink, start[source].offset)
        return self._sinks[source]


async def _no_commit(position: Any) -> None:
    raise AssertionError("the Redis sink commits nothing beside its work")


async def frames_until(
    ws: aiohttp.ClientWebSocketResponse[bool], wanted: Mapping[str, Any], timeout: float = 10
) -> list[dict[str, Any]]:
    """All frames up to and with the first that has the wanted fields."""
    seen = []
    while True:
        frame = await ws.receive_json(timeout=timeout)
        seen.append(frame)
        if all(frame.get(name) == value for name, value in wanted.items()):
            return seen
