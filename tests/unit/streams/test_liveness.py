"""A stage that has work and gets nowhere ends its process; one that waits for others does not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from broker import Broker
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Assigned
from turn_parts import eventually

from infra.telemetry.metrics import Metrics
from schemas.failures import Unavailable
from sinks.port import TopicPartition
from streams import batch_source, liveness
from streams.backoff import Backoff
from streams.batch import Batch, Rewind
from streams.batch_source import BatchSource
from streams.liveness import watch
from streams.positions import LogEnds
from streams.worker import Reading, Worker

PLACE = TopicPartition("parley.events.v1", 0)
RECORDS = 100
PATIENCE_S = 0.8
SOON_S = 8 * PATIENCE_S
"""A stuck stage is noticed long before that, also on a busy machine."""


class Idle:
    """A stage that takes everything in and never commits any of it."""

    late = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.source: BatchSource
        self.away = False
        self.let_go = asyncio.Event()

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        return [0] * len(partitions)

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Nothing to forget."""

    def wake_at_us(self) -> int | None:
        return None

    async def handle(self, batch: Batch) -> None:
        """Takes it in."""


class Away(Idle):
    """One that says that what it needs is away."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.away = True


class Late(Idle):
    """One whose offsets wait for work that outlives its batches."""

    late = True


class Refused(Idle):
    """One that can't handle its batch while somebody else is away, and waits."""

    async def handle(self, batch: Batch) -> None:
        raise Rewind("nobody is at home") from Unavailable("nobody is at home")


class Repeating(Idle):
    """One whose transactions all fail, although Kafka answers."""

    async def handle(self, batch: Batch) -> None:
        raise Rewind("aborted")


class OnItsThread(Idle):
    """One that blocks the source's own thread, in a call that does not come back."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.back = threading.Event()
        self.blocks = False

    def wake_at_us(self) -> int | None:
        if self.blocks:
            self.back.wait()
        return None


class TakingOver(OnItsThread):
    """One that reads its whole state before it begins."""

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        self.back.wait()
        return super().assigned(consumer, partitions)


class Hung(Idle):
    """One that does not come back from its batch before it is let go."""

    async def handle(self, batch: Batch) -> None:
        await self.let_go.wait()


class Diligent(Idle):
    """One that commits what it has taken in."""

    async def handle(self, batch: Batch) -> None:
        reached = Assigned(*PLACE, batch.messages[PLACE][-1].offset() + 1)
        await self.source.call(lambda c: c.commit(offsets=[reached], asynchronous=False))


class Slow(Diligent):
    """One that always has work before it, and gets on with it."""

    async def handle(self, batch: Batch) -> None:
        await asyncio.sleep(PATIENCE_S / 4)
        await super().handle(batch)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses are to patience as they are in earnest."""
    monkeypatch.setattr(liveness, "CHECK_EVERY_S", PATIENCE_S / 12)
    monkeypatch.setattr(liveness, "ANSWER_S", PATIENCE_S / 2)
    monkeypatch.setattr(batch_source, "Backoff", lambda: Backoff(60.0, 60.0))


@asynccontextmanager
async def working(
    broker: Broker,
    folder: Path,
    *stages: Idle,
    records: int = RECORDS,
    batch_max: int = 1,
    owns: bool = True,
) -> AsyncIterator[Worker]:
    """A process of these stages, each with records before it."""
    for number in range(records):
        broker.append(PLACE, b"k", b"%d" % number)
    readings = [
        Reading(stage, stage.name, (PLACE.topic,), batch_max=batch_max, commits_late=stage.late)
        for stage in stages
    ]
    worker = Worker("liveness", readings, broker.options, folder)
    for stage in stages:
        stage.source = worker.sources[stage.name]
    await worker.start()
    try:
        if owns:
            await eventually(lambda: all(PLACE in stage.source.owned for stage in stages))
        yield worker
    finally:
        for stage in stages:
            stage.let_go.set()
        await worker.stop()


def lag(metrics: Metrics, stage: str) -> float | None:
    place = {"stage": stage, "topic": PLACE.topic, "partition": str(PLACE.partition)}
    return metrics.registry.get_sample_value("parley_lag_records", place)


async def test_a_stage_that_commits_nothing_ends_the_process_within_patience(
    broker: Broker, tmp_path: Path
) -> None:
    metrics = Metrics()
    async with working(broker, tmp_path, Slow("slow"), Idle("idle")) as worker:
        began = time.monotonic()
        async with asyncio.timeout(SOON_S):
            why = await watch(worker, LogEnds(broker.options), metrics, PATIENCE_S)
        assert time.monotonic() - began > PATIENCE_S
    assert why.startswith(f"idle has {RECORDS} records before it on parley.events.v1[0]")
    assert lag(metrics, "idle") == RECORDS


async def test_a_stage_that_hangs_in_its_batch_ends_the_process_within_patience(
    broker: Broker, tmp_path: Path
) -> None:
    async with working(broker, tmp_path, Hung("hung")) as worker:
        async with asyncio.timeout(SOON_S):
            why = await watch(worker, LogEnds(broker.options), Metrics(), PATIENCE_S)
    assert why.startswith(f"hung has {RECORDS} records before it")


class HungAtTheEnd(Hung):
    """One that hangs in its second batch, which was read together with the partition's end."""

    async def handle(self, batch: Batch) -> None:
        self.batches += 1
        if self.batches > 1:
            await super().handle(batch)
            return
        await self.more_is_there.wait()
        # librdkafka fetches once more after the last record, and so learns of the end.
        await asyncio.sleep(1.5)
        reached = Assigned(*PLACE, batch.messages[PLACE][-1].offset() + 1)
        await self.source.call(lambda c: c.commit(offsets=[reached], asynchronous=False))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.batches = 0
        self.more_is_there = asyncio.Event()


async def test_a_stage_that_hangs_in_the_last_batch_of_its_log_ends_the_process_too(
    broker: Broker, tmp_path: Path
) -> None:
    hung = HungAtTheEnd("hung")
    async with working(broker, tmp_path, hung, records=1, batch_max=RECORDS) as worker:
        await eventually(lambda: hung.batches)
        broker.append(PLACE, b"k", b"more")
        hung.more_is_there.set()
        await eventually(lambda: hung.batches > 1)
        async with asyncio.timeout(SOON_S):
            why = await watch(worker, LogEnds(broker.options), Metrics(), PATIENCE_S)
    assert why.startswith("hung has 1 records before it")


async def test_a_stage_whose_batch_fails_again_and_again_ends_the_process(
    broker: Broker, tmp_path: Path
) -> None:
    async with working(broker, tmp_path, Repeating("repeating")) as worker:
        async with asyncio.timeout(SOON_S):
            why = await watch(worker, LogEnds(broker.options), Metrics(), PATIENCE_S)
    assert why.startswith(f"repeating has {RECORDS} records before it")


async def test_a_source_that_hangs_in_a_call_ends_the_process(
    broker: Broker, tmp_path: Path
) -> None:
    stage = OnItsThread("hung")
    async with working(broker, tmp_path, stage) as worker:
        stage.blocks = True
        try:
            async with asyncio.timeout(SOON_S):
                why = await watch(worker, LogEnds(broker.options), Metrics(), PATIENCE_S)
        finally:
            stage.blocks = False
            stage.back.set()
    assert why.startswith("hung hangs in its Kafka client")


async def test_a_stage_may_take_its_time_to_take_partitions_over(
    broker: Broker, tmp_path: Path
) -> None:
    stage = TakingOver("taking")
    async with working(broker, tmp_path, stage, owns=False) as worker:
        try:
            await eventually(lambda: stage.source.rebalancing)
            assert not await ends_in_time(broker, worker, Metrics())
        finally:
            stage.back.set()
        await eventually(lambda: PLACE in stage.source.owned)
        assert not stage.source.rebalancing


async def test_a_client_that_does_not_get_through_ends_the_process_while_others_do(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(broker, tmp_path, Idle("cut")) as worker:

        async def cut_off(function: Callable[[Consumer], Any]) -> Any:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

        monkeypatch.setattr(worker.sources["cut"], "call", cut_off)
        async with asyncio.timeout(SOON_S):
            why = await watch(worker, LogEnds(broker.options), Metrics(), PATIENCE_S)
        monkeypatch.undo()
    assert why.startswith("cut hangs in its Kafka client")


async def test_patience_begins_anew_when_kafka_comes_back(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(broker, tmp_path, Idle("idle")) as worker:
        ends, since = LogEnds(broker.options), time.monotonic()
        asked = ends.of

        def away_at_first(partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
            if time.monotonic() - since < 2 * PATIENCE_S:
                raise KafkaException(KafkaError(KafkaError._TRANSPORT))
            return asked(partitions)

        monkeypatch.setattr(ends, "of", away_at_first)
        async with asyncio.timeout(2 * SOON_S):
            await watch(worker, ends, Metrics(), PATIENCE_S)
        assert time.monotonic() - since > 3 * PATIENCE_S


async def test_a_consumer_that_stops_fetching_ends_the_process_although_it_knows_of_nothing_new(
    broker: Broker, tmp_path: Path
) -> None:
    async with working(broker, tmp_path, Diligent("deaf")) as worker:
        await eventually(lambda: broker.committed("deaf", PLACE) == RECORDS)
        await worker.sources["deaf"].call(lambda c: c.pause([Assigned(*PLACE)]))
        broker.append(PLACE, b"k", b"unheard")
        async with asyncio.timeout(SOON_S):
            why = await watch(worker, LogEnds(broker.options), Metrics(), PATIENCE_S)
    assert why.startswith("deaf has 1 records before it")


@pytest.mark.parametrize("kind", [Slow, Away, Refused, Late])
async def test_a_stage_that_gets_on_or_waits_for_others_is_left_alone(
    broker: Broker, tmp_path: Path, kind: type[Idle]
) -> None:
    metrics = Metrics()
    async with working(broker, tmp_path, kind("patient")) as worker:
        assert not await ends_in_time(broker, worker, metrics)
        assert lag(metrics, "patient") is not None


async def test_a_stage_without_work_is_left_alone(broker: Broker, tmp_path: Path) -> None:
    metrics = Metrics()
    async with working(broker, tmp_path, Diligent("diligent")) as worker:
        await eventually(lambda: broker.committed("diligent", PLACE) == RECORDS)
        assert not await ends_in_time(broker, worker, metrics)
    assert lag(metrics, "diligent") == 0


async def ends_in_time(broker: Broker, worker: Worker, metrics: Metrics) -> bool:
    """Whether the watch ends in several times the time that a stuck stage would get."""
    watching = asyncio.ensure_future(watch(worker, LogEnds(broker.options), metrics, PATIENCE_S))
    done, _ = await asyncio.wait([watching], timeout=4 * PATIENCE_S)
    watching.cancel()
    return bool(done)
