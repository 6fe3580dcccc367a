"""A gateway on the real log, registry and Redis for tests, and raw sockets that can be cut."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio
from redis_sink_parts import EVENTS_0, TOKENS_0, ConversationLog, PlainOpener, piece

from gateway.dev_tokens import dev_token
from gateway.server import Gateway, open_gateway
from infra.kafka_admin import apply_topics
from infra.keys import open_sealer, read_or_create_secret
from infra.schema_registry import SchemaRegistry
from infra.settings.loading import Settings, load_settings
from schemas.events import ConversationStarted
from schemas.topics import EVENTS, TOPICS
from sinks.port import Delivery, TopicPartition
from sinks.redis.sink import RedisSink

__all__ = ["piece"]

EPOCH = "epoch-1"
START_S = 120


@functools.cache
def stack_folder() -> Path:
    """The data folder of a running stack with all topics, one for the whole run of the tests.

    `PARLEY_TEST_STACK` names one that runs already; otherwise one is started until the end.
    """
    given = os.environ.get("PARLEY_TEST_STACK")
    if given:
        prepare(Path(given))
        return Path(given)
    place = tempfile.TemporaryDirectory(prefix="parley-gateway-")
    folder = Path(place.name) / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local", "--data", str(folder)], stdout=subprocess.DEVNULL
    )

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        place.cleanup()

    atexit.register(stop)
    wait_for_stack(folder, process)
    prepare(folder)
    return folder


def wait_for_stack(folder: Path, process: subprocess.Popen[bytes]) -> None:
    addresses = folder / "stack.json"
    deadline = time.monotonic() + START_S
    while True:
        assert process.poll() is None, "the stack did not start"
        if addresses.exists() and "redis" in json.loads(addresses.read_text()):
            return
        assert time.monotonic() < deadline, "the stack is not ready"
        time.sleep(0.1)


def prepare(folder: Path) -> None:
    settings = load_settings(folder)
    apply_topics(settings.kafka.bootstrap_servers, {}, TOPICS)
    registry(settings).register(TOPICS)


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
async def running_gateway(**gateway: Any) -> AsyncIterator[Parts]:
    settings = load_settings(stack_folder(), gateway={"port": 0, "drain_ms": 100, **gateway})
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
                source, [Delivery(*source, offset, 1, record, None)], _no_commit
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
