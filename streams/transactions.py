"""Transactional producers, one per partition, so that a takeover fences the dead owner at once.

What each of Kafka's errors asks for is decided here, in one place: repeat the call, abort and
read the batch again (`Rewind`), or end the process (`StageLost`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as Offset

from schemas.headers import Headers
from sinks.port import TopicPartition
from streams.batch import Rewind, StageLost
from streams.kafka_options import KafkaOptions

log = logging.getLogger(__name__)

CALL_S = 10.0
GIVE_UP_S = 30.0
"""A call is repeated for so long. In a commit the stage's own bound on a batch comes first."""


class Outgoing(NamedTuple):
    """A record to be written."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers | None = None
    on_delivery: Callable[[KafkaError | None, Message], None] | None = None


class Transactions:
    """The producers of the partitions that this process owns in one stage."""

    def __init__(self, stage: str, options: KafkaOptions) -> None:
        self._stage = stage
        self._options = options
        self._producers: dict[TopicPartition, Producer] = {}

    @property
    def timeout_s(self) -> float:
        """After this time the broker aborts an open transaction."""
        return self._options.transaction_timeout_ms / 1000

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes the partitions over: open transactions of earlier owners are ended first."""
        if not partitions:
            return
        with ThreadPoolExecutor(len(partitions)) as pool:
            producers = list(pool.map(self._initialised, partitions))
        self._producers.update(zip(partitions, producers, strict=True))

    def close(self, partitions: Iterable[TopicPartition]) -> None:
        """Lets partitions go. No transaction is open then."""
        for partition in partitions:
            self._producers.pop(partition, None)

    def write(self, partition: TopicPartition, outputs: Sequence[Outgoing]) -> None:
        """Writes outputs that no record led to, in a transaction without an offset."""
        self.commit(partition, outputs, None, None)

    def commit(
        self,
        partition: TopicPartition,
        outputs: Sequence[Outgoing],
        next_offset: int | None,
        group_metadata: Any,
    ) -> None:
        """Writes the outputs and the offset in one transaction, or has no effect at all.

        Raises `Rewind` where the transaction was aborted, `StageLost` where another worker owns
        the partition or the outcome can't be known.
        """
        producer = self._producers.get(partition)
        if producer is None:
            raise Rewind(f"{partition.topic}[{partition.partition}] was given up meanwhile")
        try:
            producer.begin_transaction()
            for output in outputs:
                _produce(producer, output)
            # The snapshots must be in the log before the offsets are pending there: whoever
            # restores waits for pending offsets, and then must find all that they stand for.
            if producer.flush(CALL_S):
                raise _abort(producer, "the broker did not take the records in time")
            if next_offset is not None:
                offsets = [Offset(partition.topic, partition.partition, next_offset)]
                _repeat(
                    lambda: producer.send_offsets_to_transaction(offsets, group_metadata, CALL_S)
                )
            _repeat(lambda: producer.commit_transaction(CALL_S))
        except KafkaException as error:
            raise _verdict(producer, error.args[0]) from error
        except SystemError as error:
            # A fatal error can come up in the middle of telling of deliveries; then Python says
            # that the callback returned "with an exception set", and the error is the cause.
            if isinstance(error.__cause__, KafkaException):
                raise _verdict(producer, error.__cause__.args[0]) from error
            raise

    def _initialised(self, partition: TopicPartition) -> Producer:
        options = self._options.for_transactions(f"parley-{self._stage}-p{partition.partition}")
        producer = Producer(options, logger=log)
        try:
            _repeat(lambda: producer.init_transactions(CALL_S))
        except KafkaException as error:
            raise StageLost(f"{self._stage} can't begin: {error.args[0].str()}") from error
        return producer


def _produce(producer: Producer, output: Outgoing) -> None:
    while True:
        try:
            producer.produce(
                output.topic,
                output.value,
                output.key,
                headers=output.headers,
                on_delivery=output.on_delivery,
            )
            return
        except BufferError:
            producer.poll(0.05)


def _repeat(call: Callable[[], object]) -> None:
    """Repeats a call while its error says that this is safe and useful."""
    give_up_at = time.monotonic() + GIVE_UP_S
    while True:
        try:
            call()
            return
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if not reason.retriable() or time.monotonic() > give_up_at:
                raise
            log.info("repeating a transaction's call: %s", reason.str())


def _verdict(producer: Producer, reason: KafkaError) -> Exception:
    if reason.fatal() or reason.code() == KafkaError._FENCED:
        return StageLost(f"another worker took over: {reason.str()}")
    if reason.txn_requires_abort():
        return _abort(producer, reason.str())
    return StageLost(f"the transaction's outcome is unknown: {reason.str()}")


def _abort(producer: Producer, why: str) -> Exception:
    try:
        _repeat(lambda: producer.abort_transaction(CALL_S))
    except KafkaException as error:
        return StageLost(f"{why}; aborting failed too: {error.args[0].str()}")
    return Rewind(why)
