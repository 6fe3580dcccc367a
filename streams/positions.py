"""Where a consumer group stands, as the broker says it."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Assigned

from sinks.port import Position, TopicPartition
from streams.batch import StageLost

WAIT_S = 30.0


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
