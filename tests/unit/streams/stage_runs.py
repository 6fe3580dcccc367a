"""Runs stages on the broker inside this process, and writes the log that they read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

from broker import PARTITIONS, Broker
from turn_parts import WIRES, Person, Sent, eventually

from infra.keys import Sealer
from infra.providers import Provider
from infra.telemetry.metrics import Metrics
from schemas.events import Event, MessageReceived
from schemas.topics import DEAD_LETTERS, EVENTS, Topic
from schemas.wire import TopicWire
from sinks.port import Commit, Delivery, Position, Sink, TopicPartition
from streams.answering.attempt import Desk
from streams.answering.open_messages import WANTED
from streams.answering.stage import NAME, AnsweringStage
from streams.batch_source import BatchSource
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.records_out import RecordsOut
from streams.sink_stage import SinkStage
from streams.worker import Reading, Worker

GROUP = f"parley-{NAME}"
PLACES = [TopicPartition(EVENTS.name, number) for number in range(PARTITIONS)]
FIRST = PLACES[0]


class Log:
    """The events topic, to which a test adds what happens to people."""

    def __init__(self, broker: Broker) -> None:
        broker.create(EVENTS.name)
        self.broker = broker

    def add(self, person: Person, events: Iterable[Event], place: TopicPartition = FIRST) -> int:
        """Appends events; returns the offset after them."""
        values = [WIRES[EVENTS].encode(event) for event in events]
        return [self.broker.append(place, person.key, value) for value in values][-1] + 1

    def asks(self, person: Person, place: TopicPartition = FIRST) -> int:
        """Appends a question whose turn begins; returns the offset of its message."""
        events = person.lives(person.says("I lost my card"), person.analysed(2, "I lost my card"))
        after = self.add(person, events, place)
        (number,) = (n for n, event in enumerate(events) if isinstance(event, MessageReceived))
        return after - len(events) + number

    def committed(self, place: TopicPartition = FIRST, group: str = GROUP) -> int | None:
        """What a stage has committed, the answering stage if none is named; None for nothing."""
        return self.broker.committed(group, place)


def answering(
    desk: Desk, broker: Broker, folder: Path, wire: TopicWire = WIRES[EVENTS]
) -> tuple[Worker, BatchSource]:
    """A worker with the answering stage, and the source that it reads from."""
    stage = AnsweringStage(Decoder([wire], WANTED), desk, broker.options, Metrics(), concurrency=64)
    reading = Reading(stage, GROUP, (EVENTS.name,), 500, commits_late=True)
    worker = Worker(NAME, [reading], broker.options, folder)
    source = worker.sources[NAME]
    stage.attach(source)
    return worker, source


Run = Callable[[Provider], AbstractAsyncContextManager[BatchSource]]
"""`async with run(provider) as source`: the stage, once it has all partitions."""


def runs(make: Callable[[Provider], tuple[Worker, BatchSource]]) -> Run:
    @asynccontextmanager
    async def run(provider: Provider) -> AsyncIterator[BatchSource]:
        worker, source = make(provider)
        await worker.start()
        try:
            await eventually(lambda: len(source.owned) == PARTITIONS)
            yield source
        finally:
            await worker.stop()

    return run


class Shelf:
    """A sink to put things on; a test says what `write` does with them."""

    name = "shelf"
    topics: tuple[Topic, ...] = (EVENTS,)
    batch_records_max = 100
    batch_wait_ms = 0
    commit_every_ms = 0

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        return {}

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        raise NotImplementedError

    async def check(self) -> Mapping[TopicPartition, Position]:
        return {}

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to forget."""


@asynccontextmanager
async def sinking(
    sink: Sink,
    wire: TopicWire,
    sealer: Sealer,
    sent: Sent,
    broker: Broker,
    folder: Path,
    *,
    owning: int = PARTITIONS,
) -> AsyncIterator[BatchSource]:
    """A sink's stage while it runs, once it has so many partitions; its group has its name."""
    letters = DeadLetters(sink.name, WIRES[DEAD_LETTERS], sealer, Metrics())
    out, loop = cast(RecordsOut, sent), asyncio.get_running_loop()
    stage = SinkStage(sink, Decoder([wire], (MessageReceived,)), letters, out, loop, Metrics())
    reading = Reading(stage, sink.name, (EVENTS.name,), sink.batch_records_max)
    worker = Worker(sink.name, [reading], broker.options, folder)
    source = worker.sources[sink.name]
    stage.attach(source)
    await worker.start()
    try:
        await eventually(lambda: len(source.owned) >= owning)
        yield source
    finally:
        await worker.stop()
