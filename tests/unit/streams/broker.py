"""A Kafka broker inside this process: the one that librdkafka brings along for its own tests.

It keeps records, groups (KIP-848 as well) and committed offsets, so sources, sinks and stages run
on it as they are. It has no transactions worth the name and forgets everything at its end.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka import TopicPartition as Assigned

from sinks.port import TopicPartition
from streams.kafka_options import KafkaOptions

PARTITIONS = 4
"""Of every topic: librdkafka gives each as many at its first record."""


class Broker:
    """One broker. What tests write and look at goes through clients of its own."""

    def __init__(self) -> None:
        # "log_level": it would say that it is a mock each time.
        self._producer = Producer(
            {"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0}
        )
        brokers = self._producer.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{each.host}:{each.port}" for each in brokers)

    def create(self, topic: str) -> None:
        """Makes an empty topic."""
        self._producer.list_topics(topic, timeout=10)

    def append(self, place: TopicPartition, key: bytes, value: bytes) -> int:
        """Writes a record and returns its offset."""
        written: list[Message] = []

        def on_delivery(error: object, message: Message) -> None:
            assert error is None
            written.append(message)

        self._producer.produce(
            place.topic, value, key, partition=place.partition, on_delivery=on_delivery
        )
        assert self._producer.flush(10) == 0
        return int(written[0].offset())

    @property
    def options(self) -> KafkaOptions:
        return KafkaOptions(self.address)

    def committed(self, group: str, place: TopicPartition) -> int | None:
        """The offset that a group has committed, None before its first."""
        (found,) = self._offsets(group, [place])
        return found if found >= 0 else None

    def _offsets(self, group: str, places: Sequence[TopicPartition]) -> list[int]:
        consumer = Consumer(self.options.for_reader(committed=False, group=group))
        try:
            asked = [Assigned(*place) for place in places]
            return [each.offset for each in consumer.committed(asked, timeout=10)]
        finally:
            consumer.close()
