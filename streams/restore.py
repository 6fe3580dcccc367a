"""Brings a partition's state up to its changelog before the first batch is read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Assigned

from streams.batch import StageLost
from streams.kafka_options import KafkaOptions
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
    if not states:
        return
    ends = _ends(changelog, list(states), options)
    starts = {p: state.changelog_offset for p, state in states.items()}
    open_partitions = {p for p in states if starts[p] < ends[p]}
    reader = Consumer(options.for_reader(committed=True))
    try:
        reader.assign([Assigned(changelog, p, starts[p]) for p in open_partitions])
        _read(reader, open_partitions, states, ends)
    finally:
        reader.close()


def _ends(changelog: str, partitions: list[int], options: KafkaOptions) -> dict[int, int]:
    # A read_committed consumer's own watermark is the last stable offset: that would be too low.
    probe = Consumer(options.for_reader(committed=False))
    try:
        return {
            p: probe.get_watermark_offsets(Assigned(changelog, p), timeout=10.0)[1]
            for p in partitions
        }
    finally:
        probe.close()


def _read(
    reader: Consumer,
    open_partitions: set[int],
    states: Mapping[int, PartitionState[Any]],
    ends: Mapping[int, int],
) -> None:
    heard_at = time.monotonic()
    while open_partitions:
        messages = reader.consume(5000, 0.1)
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > SILENCE_S:
            raise StageLost("the changelog can't be read to its end")
        stretches: dict[int, list[tuple[bytes, bytes | None]]] = {}
        reached: dict[int, int] = {}
        for message in messages:
            error = message.error()
            partition = message.partition()
            if error is None:
                stretches.setdefault(partition, []).append((message.key(), message.value()))
                reached[partition] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                reached[partition] = message.offset()
            elif not error.retriable():
                raise KafkaException(error)
        for partition, next_offset in reached.items():
            states[partition].restore(stretches.get(partition, []), next_offset)
            if next_offset >= ends[partition]:
                open_partitions.discard(partition)
