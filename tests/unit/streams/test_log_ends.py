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
from streams.positions import HUNG_MAX, LogEnds

PLACE = TopicPartition("t", 0)


class Reader:
    """Answers, or hangs until it is released, whatever the timeout."""

    hangs = True
    asked = threading.Semaphore(0)
    released = threading.Event()

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    def offsets_for_times(self, wanted: list[Assigned], timeout: float) -> list[Assigned]:
        self.asked.release()
        if Reader.hangs:
            self.released.wait(30)
        return [Assigned(each.topic, each.partition, 7) for each in wanted]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogEnds]:
    monkeypatch.setattr(positions, "Consumer", Reader)
    Reader.hangs = True
    Reader.released.clear()
    yield LogEnds(KafkaOptions("nowhere"))
    Reader.released.set()


def hang(ends: LogEnds) -> None:
    threading.Thread(target=ends.of, args=([PLACE],), daemon=True).start()
    assert Reader.asked.acquire(timeout=10)


def test_a_call_that_hangs_does_not_keep_the_next_one_from_an_answer(ends: LogEnds) -> None:
    hang(ends)
    Reader.hangs = False
    assert ends.of([PLACE]) == {PLACE: 7}
    assert ends.of([PLACE]) == {PLACE: 7}


def test_only_so_many_calls_hang_at_once(ends: LogEnds) -> None:
    for _ in range(HUNG_MAX + 1):
        hang(ends)
    with pytest.raises(KafkaException):
        ends.of([PLACE])
