"""Transactions that change a stage's outputs, state and offsets together, or not at all.

What each of Kafka's errors asks for is decided here, in one place: repeat the call, abort and
read the batch again (`Rewind`), or end the process (`StageLost`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as Offset

from schemas.headers import Headers
from sinks.port import TopicPartition
from streams.batch import Rewind, StageLost
from streams.kafka_options import KafkaOptions, Options

log = logging.getLogger(__name__)

CALL_S = 10.0
GIVE_UP_S = 30.0
"""A call is repeated for so long. In a commit the stage's own bound on a batch comes first."""
RENEW_S = 2.0
ASK_AGAIN_S = 0.05
LOOK_S = 0.25

OnDelivery = Callable[[KafkaError | None, Message], None]


class Outgoing(NamedTuple):
    """A record to be written."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers | None = None
    on_delivery: OnDelivery | None = None


class Transactions:
    """The transactions of the partitions that this process owns in one stage.

    Each partition has a transactional id of its own, and taking a partition over fences whoever
    wrote under it. One batch is one transaction, whatever partitions it touches: it is written
    under the id of one of them, the leader. A worker that is lost loses its leader with all the
    rest, so its open transaction ends as soon as the leader has an heir; the heirs of the other
    partitions wait for that. One that merely lost the assignment is refused by the group's
    metadata.
    """

    def __init__(self, stage: str, options: KafkaOptions) -> None:
        self._stage = stage
        self._options = options
        self._owned: set[TopicPartition] = set()
        self._leader: TopicPartition | None = None
        self._writer: _Writer | None = None
        self._coming: _Writer | None = None
        """The next writer, while Kafka is not back yet."""

    @property
    def timeout_s(self) -> float:
        """After this time the broker aborts an open transaction."""
        return self._options.transaction_timeout_ms / 1000

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes the partitions over: open transactions of earlier owners are ended first."""
        if not partitions:
            return
        with ThreadPoolExecutor(len(partitions)) as pool:
            writers = dict(zip(partitions, pool.map(self._fencing, partitions), strict=True))
        self._owned.update(partitions)
        if self._leader is None:
            self._leader = min(partitions)
            self._writer = writers[self._leader]

    @property
    def left_open(self) -> bool:
        """Whether the last transaction may still be open, since every broker was lost under it.

        The next one that begins here ends it. Until then nobody reads past its records, and heirs
        of partitions that it touched wait.
        """
        return self._writer is not None and self._writer.left_open

    def close(self, partitions: Iterable[TopicPartition]) -> None:
        """Lets partitions go. No transaction is open then, but for one that was `left_open`."""
        self._owned.difference_update(partitions)
        if self._leader not in self._owned:
            self._coming = None
            # Only between polls, while the assignment holds, may another id be fenced. Who falls
            # asleep here can fence an heir's all the same; the metadata refuses what it writes.
            self._leader = min(self._owned, default=None)
            self._writer = None if self._leader is None else self._fencing(self._leader)

    def begin(self) -> Transaction:
        """A transaction for one batch; at the broker it begins with its first record.

        Raises `Rewind` where every partition was given up meanwhile, or Kafka is away.
        """
        if self._writer is None or self._leader is None:
            raise Rewind(f"{self._stage} owns no partition any more")
        if self._writer.has_lost_brokers():
            self._writer = self._renewed(self._leader)
        return Transaction(self._writer)

    def _fencing(self, partition: TopicPartition) -> _Writer:
        writer = self._opened(partition)
        try:
            _repeat(lambda: writer.begin(CALL_S))
        except KafkaException as error:
            raise StageLost(f"{self._stage} can't begin: {error.args[0].str()}") from error
        return writer

    def _renewed(self, partition: TopicPartition) -> _Writer:
        """A fresh producer under the same id, which ends what the one before left open.

        One that has outlived its only broker can't add offsets any more: librdkafka waits for a
        change of the coordinator that it knew, whatever the timeout (its issues 5456 and 5511).
        """
        # The same one at every try: each goes on with its beginning behind our back, and one that
        # came through late would fence the one that writes by then.
        writer = self._coming = self._coming or self._opened(partition)
        try:
            writer.begin(RENEW_S)
        except KafkaException as error:
            if error.args[0].retriable():
                raise Rewind(f"Kafka is not back yet: {error.args[0].str()}") from error
            raise StageLost(f"{self._stage} can't go on: {error.args[0].str()}") from error
        self._coming = None
        log.info("%s writes through a new connection", self._stage)
        return writer

    def _opened(self, partition: TopicPartition) -> _Writer:
        transactional_id = f"parley-{self._stage}-p{partition.partition}"
        return _Writer(self._options.for_transactions(transactional_id))


class _Writer:
    """A transactional producer, and whether it has lost every broker since it began."""

    def __init__(self, options: Options) -> None:
        # The callback knows this, and not the writer: in a circle with the producer it would keep
        # it alive until a collection of cycles, which seldom comes.
        self._lost = lost = threading.Event()
        self.left_open = False
        """Whether a transaction was given up without being ended."""

        def on_error(error: KafkaError) -> None:
            # One connection of several may come and go without a loss.
            if error.code() == KafkaError._ALL_BROKERS_DOWN:
                lost.set()

        self.producer = Producer({**options, "error_cb": on_error}, logger=log)

    def begin(self, timeout_s: float) -> None:
        """Ends what its id has left open, and may write then. Raises `KafkaException`."""
        give_up_at = time.monotonic() + timeout_s
        # librdkafka asks for the coordinator before it has a connection, and again half a second
        # later; being called again it asks at once. A request that is out is never repeated.
        while not self._has_begun(give_up_at):
            pass
        # On its way there it may have knocked at an address where nobody listens.
        self.producer.poll(0)
        self._lost.clear()

    def _has_begun(self, give_up_at: float) -> bool:
        left_s = give_up_at - time.monotonic()
        try:
            self.producer.init_transactions(max(0.0, min(left_s, ASK_AGAIN_S)))
        except KafkaException as error:
            if left_s <= ASK_AGAIN_S or not error.args[0].retriable():
                raise
            return False
        return True

    def has_lost_brokers(self) -> bool:
        """Whether it has; asks for what librdkafka has heard meanwhile."""
        self.producer.poll(0)
        return self._lost.is_set()


class Transaction:
    """One batch's records and offsets. It has an effect only once `commit` has returned.

    Every call raises `Rewind` where the transaction was aborted, and `StageLost` where another
    worker owns the partition or the outcome can't be known.
    """

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self._producer = writer.producer
        self._begun = False

    def send(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Hands a record over. It is on its way while the batch is still being worked on."""
        producer = self._producer
        try:
            if not self._begun:
                self._begin()
            while True:
                try:
                    if headers is None and on_delivery is None:
                        producer.produce(topic, value, key)
                    else:
                        producer.produce(
                            topic, value, key, headers=headers, on_delivery=on_delivery
                        )
                    return
                except BufferError:
                    producer.poll(0.05)
                    self._check_brokers()
        except (KafkaException, SystemError) as error:
            raise self._judged(error) from error

    def commit(self, offsets: Mapping[TopicPartition, int], group_metadata: Any) -> None:
        """Makes the records and the offsets (the next to read, by partition) take effect."""
        if not offsets and not self._begun:
            return
        try:
            self._begin()
            self._commit(offsets, group_metadata)
        except (KafkaException, SystemError) as error:
            raise self._judged(error) from error

    def abort(self, why: str) -> Exception:
        """Takes everything back, and gives the error to raise: the batch has to come again."""
        if not self._begun:
            return Rewind(why)
        if self._writer.has_lost_brokers():
            return self._left_open(why)
        return _abort(self._producer, why)

    def _begin(self) -> None:
        if not self._begun:
            self._producer.begin_transaction()
            self._begun = True

    def _commit(self, offsets: Mapping[TopicPartition, int], group_metadata: Any) -> None:
        producer = self._producer
        # The snapshots must be in the log before the offsets are pending there: whoever restores
        # waits for pending offsets, and then must find all that they stand for.
        give_up_at = time.monotonic() + CALL_S
        while producer.flush(LOOK_S):
            self._check_brokers()
            if time.monotonic() > give_up_at:
                raise _abort(producer, "the broker did not take the records in time")
        self._check_brokers()
        if offsets:
            reached = [Offset(*partition, offset) for partition, offset in offsets.items()]
            _repeat(lambda: producer.send_offsets_to_transaction(reached, group_metadata, CALL_S))
        _repeat(lambda: producer.commit_transaction(CALL_S))

    def _check_brokers(self) -> None:
        """Raises `Rewind` where every broker was lost: the next writer takes this one back."""
        if self._writer.has_lost_brokers():
            raise self._left_open("Kafka was lost under the transaction")

    def _left_open(self, why: str) -> Rewind:
        """Nothing was committed, and whoever writes next under this id takes it back."""
        self._writer.left_open = True
        return Rewind(why)

    def _judged(self, error: Exception) -> Exception:
        # A fatal error can come up in the middle of telling of deliveries; then Python says that
        # the callback returned "with an exception set", and the error is the cause.
        cause = error.__cause__ if isinstance(error, SystemError) else error
        if not isinstance(cause, KafkaException):
            return error
        reason: KafkaError = cause.args[0]
        if reason.txn_requires_abort() and not reason.fatal() and self._writer.has_lost_brokers():
            return self._left_open(reason.str())
        return _verdict(self._producer, reason)


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
