"""Reading a topic to its end gives up when nothing comes, whatever else the client has to say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from broker import Broker
from confluent_kafka import KafkaError

from sinks.port import TopicPartition
from streams import restore
from streams.batch import StageLost

PLACE = TopicPartition("parley.events.v1", 0)


class Unreachable:
    """What a consumer hands out while it can't reach the broker: errors that it mends itself."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._TRANSPORT)

    def partition(self) -> int:
        return PLACE.partition


class Complaining:
    """A consumer that has nothing but errors."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Takes what a consumer takes."""

    def assign(self, partitions: list[Any]) -> None:
        """Has them, and gets nothing of them."""

    def poll(self, timeout_s: float) -> Any:
        return Unreachable()

    def consume(self, most: int, timeout_s: float) -> list[Any]:
        return [Unreachable()]

    def get_watermark_offsets(self, place: Any, timeout: float) -> tuple[int, int]:
        return 0, 1

    def close(self) -> None:
        """Has nothing to let go."""


def test_what_is_there_comes_in_order(broker: Broker) -> None:
    for number in range(3):
        broker.append(PLACE, b"k", b"%d" % number)
    found = list(restore.read_to_end(PLACE.topic, {PLACE.partition: 1}, broker.options))
    assert [m.value() for _, messages, _ in found for m in messages] == [b"1", b"2"]
    assert found[-1][2] == 3


def test_errors_without_end_are_no_sign_of_life(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "Consumer", Complaining)
    monkeypatch.setattr(restore, "SILENCE_S", 0.1)
    place = re.escape(f"{PLACE.topic}[{PLACE.partition}]")
    with pytest.raises(StageLost, match=f"{place} can't be read to its end.*find-hanging"):
        list(restore.read_to_end(PLACE.topic, {PLACE.partition: 0}, broker.options))
