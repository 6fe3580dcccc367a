"""What becomes of a question for the ends of the log that is never answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Assigned

from sinks.port import TopicPartition
from streams import positions
from streams.kafka_options import KafkaOptions
from streams.positions import ASKING_MAX, LogEnds

PLACE = TopicPartition("t", 0)


class Broker:
    """Answers, or hangs until it is released, whatever the timeout."""

    def __init__(self) -> None:
        self.hangs = True
        self.connections = 0
        self.asked = threading.Semaphore(0)
        self.released = threading.Event()

    def connect(self, options: dict[str, Any]) -> Broker:
        """A consumer of it."""
        self.connections += 1
        return self

    def offsets_for_times(self, wanted: list[Assigned], timeout: float) -> list[Assigned]:
        """What a consumer is asked."""
        self.asked.release()
        if self.hangs:
            assert self.released.wait(30)
        return [Assigned(each.topic, each.partition, 7) for each in wanted]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    made = Broker()
    monkeypatch.setattr(positions, "Consumer", made.connect)
    yield made
    made.released.set()


def hang(ends: LogEnds, broker: Broker) -> threading.Thread:
    broker.hangs = True
    thread = threading.Thread(target=ends.of, args=([PLACE],), daemon=True)
    thread.start()
    assert broker.asked.acquire(timeout=10)
    broker.hangs = False
    return thread


def test_a_call_that_hangs_does_not_keep_the_next_one_from_an_answer(broker: Broker) -> None:
    ends = LogEnds(KafkaOptions("nowhere"))
    hang(ends, broker)
    assert [ends.of([PLACE]) for _ in range(3)] == [{PLACE: 7}] * 3
    assert broker.connections == 2


def test_only_so_many_calls_are_out_at_once_whatever_was_answered_meanwhile(
    broker: Broker,
) -> None:
    ends = LogEnds(KafkaOptions("nowhere"))
    hanging = [hang(ends, broker)]
    while len(hanging) < ASKING_MAX:
        assert ends.of([PLACE]) == {PLACE: 7}
        hanging.append(hang(ends, broker))
    with pytest.raises(KafkaException):
        ends.of([PLACE])
    broker.released.set()
    for thread in hanging:
        thread.join()
    assert ends.of([PLACE]) == {PLACE: 7}
