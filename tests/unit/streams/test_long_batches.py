"""A batch that takes too long is committed as far as it got, and the rest of it comes again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from broker import PARTITIONS, Broker
from confluent_kafka import Consumer, Message
from stage_runs import GROUP, PLACES
from turn_parts import eventually

from infra.telemetry.metrics import Metrics
from schemas.topics import EVENTS
from sinks.port import TopicPartition
from streams import transactional_stage
from streams.batch import Batch
from streams.batch_source import BEGINNING
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.stage import Stage
from streams.transactional_stage import PORTION, Output, TransactionalStage, Transform
from streams.transactions import Transactions
from streams.worker import Reading, Worker

ONE, OTHER = PLACES[:2]


class Nibbling:
    """A stage that does the first record of each partition only, and gives back the others."""

    name, away = "nibbling", False

    def __init__(self) -> None:
        self.done: dict[TopicPartition, list[int]] = {}
        self.batches = 0

    async def handle(self, batch: Batch) -> None:
        self.batches += 1
        for place in list(batch.messages):
            self.done.setdefault(place, []).append(batch.messages[place][0].offset())
            batch.give_back(place, 1)

    def assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[int]:
        return [BEGINNING] * len(partitions)

    def revoked(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Has nothing to forget."""

    def wake_at_us(self) -> int | None:
        return None


async def test_what_a_stage_gives_back_is_read_again_once_and_in_order(
    broker: Broker, tmp_path: Path
) -> None:
    broker.create(EVENTS.name)
    for number in range(6):
        broker.append(ONE, b"k", b"%d" % number)
    for number in range(3):
        broker.append(OTHER, b"k", b"%d" % number)
    stage = Nibbling()
    reading = Reading(cast(Stage, stage), GROUP, (EVENTS.name,))
    worker = Worker("test", [reading], broker.options, tmp_path)
    source = worker.sources[stage.name]
    await worker.start()
    try:
        await eventually(lambda: len(source.owned) == PARTITIONS)
        await eventually(lambda: [len(d) for d in stage.done.values()] in ([6, 3], [3, 6]))
    finally:
        await worker.stop()
    assert stage.done == {ONE: list(range(6)), OTHER: list(range(3))}
    assert stage.batches >= 6


class Clock:
    """Stands still but for what the transform does."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Slow:
    """Takes a second for every portion."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seen: dict[TopicPartition, int] = {}

    def apply(
        self, records: Mapping[TopicPartition, Iterable[Any]], now_us: int, out: Output
    ) -> None:
        for place, deliveries in records.items():
            for number, _ in enumerate(deliveries):
                self._clock.now += not number % PORTION
                self.seen[place] = number + 1

    def committed(self, changes: None) -> None:
        """Has nothing to take over."""


class Committing:
    """Transactions of ten seconds that always succeed."""

    timeout_s = 10.0

    def __init__(self) -> None:
        self.offsets: Mapping[TopicPartition, int] = {}

    def begin(self) -> Committing:
        return self

    def send(self, *_: Any) -> None:
        raise AssertionError("nothing is sent")

    def commit(self, offsets: Mapping[TopicPartition, int], group_metadata: Any) -> None:
        self.offsets = offsets


class Taking:
    """Takes every message for a delivery."""

    def sort(self, messages: Sequence[Message], decoder: Any) -> tuple[list[Message], list[Any]]:
        return list(messages), []


def test_a_transaction_ends_long_before_the_broker_would_abort_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, committing = Clock(), Committing()
    monkeypatch.setattr(transactional_stage, "time", clock)
    slow = Slow(clock)
    stage = TransactionalStage(
        "test",
        cast(Decoder, None),
        cast(Transform, slow),
        cast(Transactions, committing),
        cast(DeadLetters, Taking()),
        Metrics(),
    )
    messages = {
        place: [
            Message(topic=place.topic, partition=place.partition, offset=n) for n in range(many)
        ]
        for place, many in ((ONE, 5 * PORTION), (OTHER, 10))
    }
    batch = Batch(dict(messages), None, 0)
    stage._handle(batch)
    # The third portion begins after two seconds of the two and a half that it may take.
    assert slow.seen == {ONE: 3 * PORTION}
    assert committing.offsets == {ONE: 3 * PORTION}
    assert batch.rest == {ONE: messages[ONE][3 * PORTION :], OTHER: messages[OTHER]}
