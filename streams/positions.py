"""Where a consumer group stands, and where the log ends, as the broker says it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Assigned

from sinks.port import Position, TopicPartition
from streams.batch import StageLost
from streams.kafka_options import KafkaOptions

WAIT_S = 30.0
ENDS_S = 5.0
ASKING_MAX = 3
"""Calls that may be out at once: one that hangs keeps a thread that others need."""


def committed_positions(
    consumer: Consumer, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, Position | None]:
    """Offset and note of each partition; None where nothing was committed yet.

    Waits until offsets of ended transactions are settled. Raises `StageLost` where the broker
    does not say: to begin anywhere else would do work twice or not at all.
    """
    try:
        found = consumer.committed([Assigned(*p) for p in partitions], timeout=WAIT_S)
    except KafkaException as error:
        raise StageLost(f"the committed offsets can't be read: {error.args[0].str()}") from error
    for each in found:
        if each.error is not None:
            raise StageLost(f"the committed offsets can't be read: {each.error.str()}")
    return {
        TopicPartition(f.topic, f.partition): (
            Position(f.offset, f.metadata or "") if f.offset >= 0 else None
        )
        for f in found
    }


def committed_offsets(
    consumer: Consumer, partitions: Sequence[TopicPartition], otherwise: int
) -> list[int]:
    """The offset of each partition, in their order; `otherwise` where nothing was committed."""
    positions = committed_positions(consumer, partitions)
    return [otherwise if (at := positions[p]) is None else at.offset for p in partitions]


class LogEnds:
    """Asks for the ends of partitions over a connection of its own.

    A consumer's own idea of an end is what it last fetched: it gets old together with the rest
    when a consumer stops fetching, and then nothing seems to be left to do.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._free: list[Consumer] = []
        self._asking = 0
        """Calls that have not come back."""

    def of(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last one that a `read_committed` reader gets, by partition.

        Blocks; one whose end is not known is left out. Raises `KafkaException`, also where nobody
        answers in time. A call that outlives its timeout is left to itself, and the next one made
        over a fresh connection.
        """
        wanted = [Assigned(*place, OFFSET_END) for place in partitions]
        reader = self._taken()
        try:
            found = reader.offsets_for_times(wanted, timeout=ENDS_S) if wanted else []
        finally:
            with self._lock:
                self._asking -= 1
                self._free.append(reader)
        return {
            TopicPartition(each.topic, each.partition): each.offset
            for each in found
            if each.error is None
        }

    def _taken(self) -> Consumer:
        with self._lock:
            if self._asking >= ASKING_MAX:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            self._asking += 1
            if self._free:
                return self._free.pop()
        # An admin client could ask as well, but librdkafka 2.16 can abort the whole process in
        # such a call when the broker dies under it.
        return Consumer(self._options.for_reader(committed=True))
