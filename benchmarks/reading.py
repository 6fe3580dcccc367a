"""Reads what a contender or a stage has committed."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Assigned

from streams.kafka_options import KafkaOptions


def committed_reader(options: KafkaOptions, topic: str, starts: Mapping[int, int]) -> Consumer:
    """A `read_committed` consumer of partitions from their offsets on."""
    consumer = Consumer({**options.for_reader(committed=True), "enable.partition.eof": False})
    consumer.assign([Assigned(topic, p, offset) for p, offset in starts.items()])
    return consumer
