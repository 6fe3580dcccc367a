"""Whatever happens on the way, Redis ends with the same bytes as after one undisturbed run.

Two sinks own the same partition at once, read in any batches, go back, crash between any two
steps, and Redis itself is emptied or rolled back. Which of them moves next is Hypothesis' choice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_sink_parts import (
    EVENTS_0,
    TOKENS_0,
    ConversationLog,
    Engine,
    RedisServer,
    client,
    deliveries,
    dump,
    new_sink,
    piece,
    running_redis,
)

from schemas.failures import Unavailable
from sinks.port import Delivery, TopicPartition

SOURCES = (EVENTS_0, TOKENS_0)
TEXTS = ("", "ok", "naïve 😀 text, with 漢字 and “quotes”", 'a "b" \\ c\n\t/d' * 3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(Path(tmp_path_factory.mktemp("redis"))) as started:
        yield started


@pytest.fixture(autouse=True)
def one_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is a round trip of its own, so that there is something to interleave."""
    monkeypatch.setattr("sinks.redis.scripts.PIPELINE_MAX", 1)
    monkeypatch.setattr("sinks.redis.scripts.LOG_EVENTS_MAX", 9)


# What happened


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[tuple[int, int]]:
    """Stretches of an answer: most follow each other, some overlap, some are missing."""
    stretches = []
    at = 0
    while at < length:
        end = draw(st.integers(at + 1, length))
        start = max(0, at - draw(st.sampled_from((0, 0, 0, 2))))
        if draw(st.integers(0, 9)):
            stretches.append((start, end))
        at = end
    return stretches


@st.composite
def stories(draw: st.DrawFn) -> dict[TopicPartition, list[Delivery]]:
    """The logs of one partition: two conversations and the pieces of their answers."""
    events: list[list[Any]] = []
    pieces: list[list[Any]] = []
    now_us = time.time_ns() // 1000
    for name in ("c-1", "c-2"):
        log = ConversationLog(conversation=name, start_us=now_us)
        streamed: list[Any] = []
        for n in range(draw(st.integers(0, 4))):
            if not _turn(draw, log, streamed, f"m{n}"):
                break
        events.append(list(log.events))
        pieces.append(streamed)
    return {
        EVENTS_0: deliveries(EVENTS_0, draw(merged(events))),
        TOKENS_0: deliveries(TOKENS_0, draw(merged(pieces))),
    }


def _turn(draw: st.DrawFn, log: ConversationLog, streamed: list[Any], mid: str) -> bool:
    """A message and its turn. False if the turn stays open, since no other may follow then."""
    message = log.received(mid)
    late = draw(st.booleans())
    analysis = None if late else log.analysed(message).envelope.seq
    turn = log.started(message, analysis)
    attempts = draw(st.integers(1, 3))
    for attempt in range(1, attempts + 1):
        if attempt > 1:
            log.restarted(turn, attempt)
        text = draw(st.sampled_from(TEXTS))
        for start, end in draw(cuts(len(text))):
            streamed.append(piece(turn, attempt, text, start, end))
    if late:
        log.analysed(message, late=True)
    ending = draw(st.sampled_from(("completed", "completed", "failed", "cancelled", "open")))
    if ending == "completed":
        log.completed(turn, "done", attempts)
        log.feedback(turn)
    elif ending != "open":
        getattr(log, ending)(turn)
    return ending != "open"


@st.composite
def merged(draw: st.DrawFn, lists: list[list[Any]]) -> list[Any]:
    """The lists in one, each in its own order."""
    left = [list(reversed(items)) for items in lists]
    order = []
    while any(left):
        order.append(draw(st.sampled_from([items for items in left if items])).pop())
    return order


# Who moves when


class Gate:
    """Stops a sink before each of its round trips until the test lets it go on, or cuts it off."""

    def __init__(self) -> None:
        self.waiting: asyncio.Future[bool] | None = None

    async def __call__(self) -> None:
        self.waiting = asyncio.get_running_loop().create_future()
        if not await self.waiting:
            raise redis.exceptions.ConnectionError("cut off")

    def open(self, passable: bool) -> None:
        assert self.waiting is not None
        waiting, self.waiting = self.waiting, None
        waiting.set_result(passable)


def gated(url: str, gate: Gate) -> redis.asyncio.Redis:
    """A client whose pipelines wait at the gate before they are sent, and once more after."""
    connection = client(url)
    make = connection.pipeline

    def pipeline(transaction: bool = True, shard_hint: str | None = None) -> Any:
        made = make(transaction, shard_hint)
        send = made.execute

        async def execute(raise_on_error: bool = True) -> list[Any]:
            await gate()
            answers = await send(raise_on_error)
            await gate()
            return answers

        made.execute = execute  # type: ignore[method-assign]
        return made

    connection.pipeline = pipeline  # type: ignore[method-assign]
    return connection


@dataclass
class Actor:
    """One of the sinks, with what it is in the middle of."""

    url: str
    logs: dict[TopicPartition, list[Delivery]]
    gate: Gate = field(default_factory=Gate)
    engine: Engine | None = None
    task: asyncio.Task[None] | None = None
    connection: redis.asyncio.Redis | None = None

    async def move(self, data: st.DataObject) -> None:
        """One step of what it is doing, or the beginning of something."""
        if self.task is None:
            self.task = asyncio.ensure_future(self._begin(data))
        else:
            self.gate.open(bool(data.draw(st.integers(0, 7), label="0 cuts off")))
        await self._settle()

    async def _settle(self) -> None:
        """Waits until it is done or stands at the gate again."""
        assert self.task is not None
        while not self.task.done() and self.gate.waiting is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        if self.task.done():
            task, self.task = self.task, None
            try:
                task.result()
            except Unavailable:
                if self.connection is not None:
                    await self.connection.aclose()
                self.engine = None  # as a process that died; another one begins

    async def _begin(self, data: st.DataObject) -> None:
        if self.engine is None:
            self.connection = gated(self.url, self.gate)
            engine = Engine(self.logs, new_sink(self.connection))
            await engine.assign()
            self.engine = engine
            return
        source = data.draw(st.sampled_from(SOURCES), label="source")
        if not data.draw(st.integers(0, 4), label="0 goes back"):
            self.engine.at[source] = data.draw(st.integers(0, self.engine.at[source]))
        await self.engine.step(source, data.draw(st.integers(1, 6), label="records"))

    async def stop(self) -> None:
        while self.task is not None:
            if self.gate.waiting is not None:
                self.gate.open(False)
            await self._settle()
        if self.connection is not None:
            await self.connection.aclose()


async def _snapshot(connection: redis.asyncio.Redis) -> dict[bytes, tuple[int, bytes]]:
    keys = [key async for key in connection.scan_iter()]
    return {k: (max(await connection.pttl(k), 0), await connection.dump(k)) for k in keys}


async def _restore(connection: redis.asyncio.Redis, saved: dict[bytes, tuple[int, bytes]]) -> None:
    await connection.flushall()
    for key, (ttl, value) in saved.items():
        await connection.restore(key, ttl, value)


async def clean_run(url: str, logs: dict[TopicPartition, list[Delivery]]) -> dict[bytes, Any]:
    connection = client(url)
    await connection.flushall()
    engine = Engine(logs, new_sink(connection))
    await engine.assign()
    await engine.drain(1)
    await connection.aclose()
    return dump(url)


async def disturbed_run(
    url: str, logs: dict[TopicPartition, list[Delivery]], data: st.DataObject
) -> dict[bytes, Any]:
    operator = client(url)
    await operator.flushall()
    saved = await _snapshot(operator)
    actors = [Actor(url, logs), Actor(url, logs)]
    for _ in range(data.draw(st.integers(0, 60), label="moves")):
        match data.draw(st.integers(0, 16), label="0 empties, 1 saves, 2 rolls back"):
            case 0:
                await operator.flushall()
            case 1:
                saved = await _snapshot(operator)
            case 2:
                await _restore(operator, saved)
            case _:
                await data.draw(st.sampled_from(actors), label="actor").move(data)
    for actor in actors:
        await actor.stop()
    last = Engine(logs, new_sink(operator))
    await last.assign()
    await last.drain()
    await operator.aclose()
    return dump(url)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(logs=stories(), data=st.data())
def test_any_course_of_events_ends_with_the_same_bytes(
    server: RedisServer, logs: dict[TopicPartition, list[Delivery]], data: st.DataObject
) -> None:
    expected = asyncio.run(clean_run(server.url, logs))
    found = asyncio.run(disturbed_run(server.url, logs, data))
    different = {k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)}
    assert {k: found.get(k) for k in different} == {k: expected.get(k) for k in different}
