"""What stages tell an operator, on a broker in this process: times, partitions, aborted batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from broker import PARTITIONS, Broker
from confluent_kafka import Consumer, KafkaError, KafkaException
from conversation_story import (
    SECOND_US,
    TENANT,
    Later,
    answered,
    cancels,
    gives_up,
    restarts,
    turn_overdue,
)
from stage_runs import FIRST, GROUP, PLACES, Log, Shelf
from turn_parts import WIRES, MakeDesk, Person, ScriptedProvider, Sent, eventually, for_ever

from infra.keys import Sealer
from infra.telemetry.metrics import Metrics
from schemas.failures import Unavailable
from schemas.topics import DEAD_LETTERS, EVENTS
from sinks.port import Commit, Delivery, Position, TopicPartition
from streams.answering.attempt import Attempt
from streams.answering.open_messages import WANTED
from streams.answering.stage import AnsweringStage
from streams.answering.turn_times import TurnTimes
from streams.batch import Batch, Rewind
from streams.batch_source import BatchSource
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.records_out import RecordsOut
from streams.sink_stage import SinkStage
from streams.stage import Stage
from streams.worker import Reading, Worker

MINUTE_US = 60 * SECOND_US


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"parley_{name}", labels)


@asynccontextmanager
async def working(
    stage: Stage, broker: Broker, folder: Path, metrics: Metrics, *, late: bool = False
) -> AsyncIterator[BatchSource]:
    """A stage that reads the events, once it has all partitions."""
    reading = Reading(stage, GROUP, (EVENTS.name,), 100, commits_late=late)
    worker = Worker("test", [reading], broker.options, folder, metrics)
    source = worker.sources[stage.name]
    if hasattr(stage, "attach"):
        stage.attach(source)
    await worker.start()
    try:
        await eventually(lambda: len(source.owned) == PARTITIONS)
        yield source
    finally:
        await worker.stop()


@pytest.fixture
async def answering(log: Log, make_desk: MakeDesk, tmp_path: Path) -> AsyncIterator[Metrics]:
    """The metrics of an answering stage whose model never comes to an end."""
    metrics = Metrics()
    desk = replace(make_desk(ScriptedProvider(*[("Freeze it ", for_ever)] * 3)), metrics=metrics)
    decoder = Decoder([WIRES[EVENTS]], WANTED)
    stage = AnsweringStage(decoder, desk, log.broker.options, metrics, concurrency=64)
    async with working(stage, log.broker, tmp_path, metrics, late=True):
        yield metrics


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (answered(2), "completed"),
        (gives_up(2), "failed"),
        (cancels(2), "cancelled"),
        (turn_overdue(2), "failed"),
    ],
    ids=["answered", "given up", "cancelled", "overdue"],
)
async def test_a_turn_is_measured_from_its_message_to_its_end_whatever_the_end(
    answering: Metrics, log: Log, alice: Person, end: Any, outcome: str
) -> None:
    envelope = end.envelope
    if envelope.origin == "client":
        end = replace(end, envelope=replace(envelope, actor=alice.subject))
    steps = (
        alice.says("I lost my card"),
        Later(SECOND_US),
        alice.analysed(2, "I lost my card"),
        Later(MINUTE_US),
        end,
    )
    log.add(alice, alice.lives(*steps))
    labels = {"tenant": TENANT, "outcome": outcome}
    await eventually(lambda: counted(answering, "turn_seconds_count", **labels) == 1)
    assert counted(answering, "turn_seconds_sum", **labels) == 61


async def test_a_turn_with_two_attempts_is_one_turn(
    answering: Metrics, log: Log, alice: Person
) -> None:
    log.asks(alice)
    log.add(alice, alice.lives(Later(SECOND_US), restarts(2, 2), Later(SECOND_US)))
    log.add(alice, alice.lives(answered(2, attempt=2)))
    labels = {"tenant": TENANT, "outcome": "completed"}
    await eventually(lambda: counted(answering, "turn_seconds_count", **labels))
    assert counted(answering, "turn_seconds_count", **labels) == 1
    assert counted(answering, "turn_seconds_sum", **labels) == 2


def test_a_turn_that_ended_or_went_to_another_worker_is_forgotten(alice: Person) -> None:
    times, message = TurnTimes(Metrics()), alice.asks("I lost my card")
    times.begun(message)
    assert len(times) == 1
    times.forget([message])
    assert len(times) == 0
    times.begun(message)
    for event in alice.lives(answered(2)):
        times.note(event)
    assert len(times) == 0


async def test_turns_are_open_until_their_end(answering: Metrics, log: Log, alice: Person) -> None:
    assert counted(answering, "open_turns") == 0
    log.asks(alice)
    await eventually(lambda: counted(answering, "open_turns") == 1)
    log.add(alice, alice.lives(answered(2)))
    await eventually(lambda: counted(answering, "open_turns") == 0)


@pytest.mark.parametrize(
    ("ago_us", "least_s"), [(5 * SECOND_US, 5), (-MINUTE_US, 0)], ids=["5 s ago", "another clock"]
)
async def test_the_first_token_is_measured_from_the_start_of_the_turn(
    make_desk: MakeDesk, alice: Person, ago_us: int, least_s: int
) -> None:
    metrics = Metrics()
    desk = replace(make_desk(ScriptedProvider(("Freeze it in the app.",))), metrics=metrics)
    message = alice.asks("I lost my card")
    assert message.turn is not None
    started_us = time.time_ns() // 1000 - ago_us
    message.turn = replace(
        message.turn, envelope=replace(message.turn.envelope, occurred_at=started_us)
    )
    await Attempt(desk, message, fallback=False, on_interrupted=lambda: None).run()
    labels = {"tenant": TENANT, "model": "scripted-1"}
    assert counted(metrics, "first_token_seconds_count", **labels) == 1
    seconds = counted(metrics, "first_token_seconds_sum", **labels)
    assert seconds is not None
    assert least_s <= seconds < least_s + (5 if least_s else 0.001)


class SlowShelf(Shelf):
    """Keeps what it is given, all that comes within a while at once."""

    batch_wait_ms = 800
    commit_every_ms = 50

    def __init__(self) -> None:
        self.writes: list[list[Any]] = []

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        self.writes.append([delivery.record for delivery in batch])
        return Position(batch[-1].offset + 1)


async def test_a_sink_tells_how_long_the_oldest_of_its_records_waited(
    log: Log, alice: Person, sealer: Sealer, tmp_path: Path
) -> None:
    metrics, shelf = Metrics(), SlowShelf()
    letters = DeadLetters(shelf.name, WIRES[DEAD_LETTERS], sealer, metrics)
    out, loop = cast(RecordsOut, Sent()), asyncio.get_running_loop()
    stage = SinkStage(shelf, Decoder([WIRES[EVENTS]]), letters, out, loop, metrics)
    alice.story.now_us = time.time_ns() // 1000 - 10 * SECOND_US
    steps = (alice.says("I lost my card"), Later(6 * SECOND_US), alice.analysed(2, "I lost it"))
    events = alice.lives(*steps)
    log.add(alice, events)
    began_us = time.time_ns() // 1000
    async with working(stage, log.broker, tmp_path, metrics):
        await eventually(lambda: counted(metrics, "records_total", stage="shelf") == len(events))
    ended_us = time.time_ns() // 1000
    assert counted(metrics, "sink_delay_seconds_count", sink="shelf") == len(shelf.writes)
    oldest = [write[0].envelope.occurred_at for write in shelf.writes]
    seconds = counted(metrics, "sink_delay_seconds_sum", sink="shelf")
    assert seconds is not None
    # Clocks are set at times; the youngest of a write is 6 s younger than its oldest.
    assert sum(began_us - at for at in oldest) - SECOND_US < seconds * 1e6
    assert seconds * 1e6 < sum(ended_us - at for at in oldest) + SECOND_US


class Reluctant:
    """A stage that takes its first batch back, for whatever reason a test gives."""

    name = "reluctant"
    away = False

    def __init__(self, cause: Exception | None) -> None:
        self._cause = cause
        self._tried = 0

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        return [0 for _ in partitions]

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Nothing to forget."""

    def wake_at_us(self) -> int | None:
        return None

    async def handle(self, batch: Batch) -> None:
        self._tried += 1
        if self._tried == 1:
            raise Rewind("not now") from self._cause


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (Unavailable("the registry is away"), "unavailable"),
        (KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION)), "kafka"),
        (None, "kafka"),
    ],
    ids=["a dependency", "Kafka", "a flush that took too long"],
)
async def test_a_batch_that_is_read_again_is_counted_by_what_was_in_its_way(
    log: Log, alice: Person, tmp_path: Path, cause: Exception | None, reason: str
) -> None:
    metrics = Metrics()
    stage = Reluctant(cause)

    def aborted() -> dict[str, float | None]:
        return {
            word: counted(metrics, "aborted_batches_total", stage="reluctant", reason=word)
            for word in ("kafka", "unavailable")
        }

    async with working(stage, log.broker, tmp_path, metrics):
        assert aborted() == {"kafka": 0, "unavailable": 0}
        log.asks(alice)
        await eventually(lambda: any(aborted().values()))
    assert aborted() == {"kafka": 0, "unavailable": 0, reason: 1}


async def test_partitions_count_while_they_are_held_and_leave_no_lag_behind(
    log: Log, tmp_path: Path
) -> None:
    metrics = Metrics()
    async with working(Reluctant(None), log.broker, tmp_path, metrics):
        assert counted(metrics, "assigned_partitions", stage="reluctant") == PARTITIONS
        for place in PLACES:
            metrics.lag.labels("reluctant", *map(str, place)).set(7)
    assert counted(metrics, "assigned_partitions", stage="reluctant") == 0
    labels = {"stage": "reluctant", "topic": FIRST.topic, "partition": str(FIRST.partition)}
    assert counted(metrics, "lag_records", **labels) is None
