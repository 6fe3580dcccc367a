"""What comes out of a consumer: records, and errors of which some mend themselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from sinks.port import TopicPartition
from streams.batch import StageLost

log = logging.getLogger(__name__)

PASSING = frozenset(
    (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    )
)
"""Conditions that librdkafka mends by itself."""


def at_hand(consumer: Consumer, most: int, wait_s: float) -> list[Message]:
    """What is there; waits for the first only, where `consume` would wait for as many as asked."""
    first = consumer.poll(wait_s)
    return [] if first is None else [first, *consumer.consume(most - 1, 0)]


def is_record(message: Message) -> bool:
    """Whether it is one. Raises `StageLost` or `KafkaException` for what does not pass."""
    error = message.error()
    if error is None:
        return True
    if error.fatal() or error.code() in (KafkaError._FENCED, KafkaError._FATAL):
        raise StageLost(f"the consumer was fenced: {error.str()}")
    if error.retriable() or error.code() in PASSING:
        log.warning("consumer: %s", error.str())
        return False
    raise KafkaException(error)


def by_partition(messages: Sequence[Message]) -> dict[TopicPartition, list[Message]]:
    """The messages of each partition, in their order."""
    grouped: dict[TopicPartition, list[Message]] = {}
    for message in messages:
        place = (message.topic(), message.partition())
        records = grouped.get(place)  # type: ignore[call-overload]  # a named tuple is its tuple
        if records is None:
            grouped[TopicPartition(*place)] = [message]
        else:
            records.append(message)
    return grouped
