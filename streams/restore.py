"""Brings a partition's state up to its changelog before the first batch is read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

from streams.batch import StageLost
from streams.kafka_options import KafkaOptions
from streams.messages import PASSING, at_hand
from streams.state import PartitionState

SILENCE_S = 30.0
"""A restore that gets nothing for so long is given up, and the worker starts afresh."""


def restore(
    changelog: str, states: Mapping[int, PartitionState[Any]], options: KafkaOptions
) -> None:
    """Reads the changelog of each partition from its state's offset to the end.

    Call it after the open transactions of earlier owners have been ended: only then does the end
    of the log that a `read_committed` reader reaches hold all that was committed.
    """
    starts = {p: state.changelog_offset for p, state in states.items()}
    for partition, messages, next_offset in read_to_end(changelog, starts, options):
        records = [(m.key(), m.value()) for m in messages]
        states[partition].restore(records, next_offset)


def read_to_end(
    topic: str, starts: Mapping[int, int], options: KafkaOptions
) -> Iterator[tuple[int, list[Message], int]]:
    """Stretches of committed records from given offsets to the present end of each partition.

    Yields the partition, its records and the offset after them, in order; for every partition the
    last stretch reaches at least the end that the topic had when reading began.
    """
    if not starts:
        return
    ends = _ends(topic, list(starts), options)
    open_partitions = {p for p in starts if starts[p] < ends[p]}
    # The broker answers at once that a partition ends, instead of waiting half a second for more.
    reader = Consumer({**options.for_reader(committed=True), "fetch.wait.max.ms": 10})
    try:
        reader.assign([Assigned(topic, p, starts[p]) for p in open_partitions])
        heard_at = time.monotonic()
        while open_partitions:
            stretches = _stretches(at_hand(reader, 5000, 0.1))
            # An error that the client mends by itself, for ever perhaps, is no sign of life.
            if stretches:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE_S:
                raise StageLost(_unread(topic, open_partitions))
            for partition, (records, next_offset) in stretches.items():
                yield partition, records, next_offset
                if next_offset >= ends[partition]:
                    open_partitions.discard(partition)
    finally:
        reader.close()


def _unread(topic: str, partitions: Iterable[int]) -> str:
    where = ", ".join(f"{topic}[{partition}]" for partition in sorted(partitions))
    return (
        f"{where} can't be read to its end: if it stays so while Kafka runs, a transaction was "
        "left open for ever, which kafka-transactions.sh find-hanging shows and abort ends"
    )


def _ends(topic: str, partitions: list[int], options: KafkaOptions) -> dict[int, int]:
    # A read_committed consumer's own watermark is the last stable offset: that would be too low.
    probe = Consumer(options.for_reader(committed=False))
    try:
        return {
            p: probe.get_watermark_offsets(Assigned(topic, p), timeout=10.0)[1] for p in partitions
        }
    except KafkaException as error:
        raise StageLost(f"the end of {topic} can't be read: {error.args[0].str()}") from error
    finally:
        probe.close()


def _stretches(messages: list[Message]) -> dict[int, tuple[list[Message], int]]:
    stretches: dict[int, tuple[list[Message], int]] = {}
    for message in messages:
        error, partition = message.error(), message.partition()
        records, reached = stretches.get(partition, ([], 0))
        if error is None:
            records.append(message)
            reached = message.offset() + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            reached = message.offset()
        elif error.retriable() or error.code() in PASSING:
            continue
        else:
            raise KafkaException(error)
        stretches[partition] = (records, reached)
    return stretches
