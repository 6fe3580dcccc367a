"""librdkafka's clients over the simulated broker, as far as the engine calls them.

What asks the broker is a step: the process may be stopped before it, or never come back from it.
Records reach the simulated log in `flush`, all at once; in reality they are on their way before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

from sinks.port import Position

from .broker import Fenced, Stale, Written
from .site import Site, step

REBALANCED_IN_CONSUME = 0.2
SLOW_US = 4_000_000
"""Working on a record may take so long, when it does take long."""


class Trouble:
    """An error of Kafka's, with what it asks for."""

    def __init__(self, code: int, what: str, asks_for: str = "") -> None:
        self._code = code
        self._what = what
        self._asks_for = asks_for

    def code(self) -> int:
        return self._code

    def str(self) -> str:
        return self._what

    def retriable(self) -> bool:
        return self._asks_for == "again"

    def txn_requires_abort(self) -> bool:
        return self._asks_for == "abort"

    def fatal(self) -> bool:
        return self._asks_for == "end"


FENCED = Trouble(KafkaError._FENCED, "fenced", "end")
MISUSED = Trouble(KafkaError._STATE, "a transaction is open already", "end")
STALE = Trouble(KafkaError.UNKNOWN_MEMBER_ID, "dismissed by the group", "abort")
REFUSED = Trouble(KafkaError.REQUEST_TIMED_OUT, "the broker refuses", "abort")
BUSY = Trouble(KafkaError.CONCURRENT_TRANSACTIONS, "the coordinator is busy", "again")
UNKNOWN = Trouble(KafkaError._FAIL, "nobody knows")


class Producer:
    """A transactional producer."""

    def __init__(self, options: Mapping[str, Any], logger: Any = None) -> None:
        self._site = Site.current
        self._id: str = options["transactional.id"]
        self._on_error: Callable[[Any], None] = options["error_cb"]
        self._epoch = -1
        self._begun = self._decided = False
        self._queue: list[tuple[Written, Callable[[Any, Any], None] | None]] = []

    def init_transactions(self, timeout: float) -> None:
        step()
        self._stumble(BUSY)
        self._epoch = self._site.broker.begin(self._id)
        self._await_end()

    def begin_transaction(self) -> None:
        if self._begun:
            raise KafkaException(MISUSED)
        self._begun = True
        self._queue.clear()

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        headers: Any = None,
        on_delivery: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self._queue.append((Written(topic, key, value), on_delivery))
        if self._site.rng.random() < self._site.mishap / 3:
            self._site.pass_time(self._site.rng.randint(0, SLOW_US))

    def poll(self, timeout: float) -> int:
        lost = self._site.loses_brokers and self._site.broker.open_transactions
        if lost or self._site.rng.random() < self._site.mishap / 3:
            self._site.loses_brokers = False
            self._on_error(Trouble(KafkaError._ALL_BROKERS_DOWN, "every broker is down", "again"))
        return 0

    def flush(self, timeout: float) -> int:
        """Some of what waits is written, or all of it. Returns how much is left."""
        self._site.flushes += 1
        self._await_end()
        some = self._site.rng.randint(0, len(self._queue))
        for written, on_delivery in self._queue[:some]:
            offset = self._called(
                lambda w=written: self._site.broker.produce(
                    self._id, self._epoch, w, self._site.now_us
                )
            )
            if on_delivery is not None:
                on_delivery(None, Message(topic=written.topic, partition=0, offset=offset))
        del self._queue[:some]
        return len(self._queue)

    def send_offsets_to_transaction(
        self, offsets: Sequence[Assigned], metadata: tuple[str, int, int], timeout: float
    ) -> None:
        step()
        self._stumble(BUSY, REFUSED)
        group, *member = metadata
        positions = {each.partition: Position(each.offset) for each in offsets}
        self._called(
            lambda: self._site.broker.add_offsets(
                self._id, self._epoch, group, tuple(member), positions, self._site.now_us
            )
        )

    def commit_transaction(self, timeout: float) -> None:
        step()
        if not self._decided:
            self._stumble(BUSY, REFUSED, UNKNOWN)
            self._called(lambda: self._site.broker.end(self._id, self._epoch, committed=True))
            self._decided = True
            step()
        # An answer that was lost comes at the next call.
        self._stumble(BUSY, UNKNOWN)
        self._begun = self._decided = False

    def abort_transaction(self, timeout: float) -> None:
        step()
        self._stumble(BUSY)
        self._queue.clear()
        self._called(lambda: self._site.broker.end(self._id, self._epoch, committed=False))
        self._begun = False

    def _await_end(self) -> None:
        """The transaction before has to be over everywhere."""
        step()
        while self._site.broker.is_ending(self._id):
            step()

    def _stumble(self, *troubles: Trouble) -> None:
        if self._site.rng.random() < self._site.mishap:
            raise KafkaException(self._site.rng.choice(troubles))

    def _called(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Fenced:
            raise KafkaException(FENCED) from None
        except Stale:
            raise KafkaException(STALE) from None


class Consumer:
    """A member of a group, or a reader that is told its partitions."""

    def __init__(self, options: Mapping[str, Any], logger: Any = None) -> None:
        self._site = Site.current
        self._group_name: str = options["group.id"]
        self._group = self._site.broker.groups[self._group_name]
        self._committed = options.get("isolation.level") == "read_committed"
        self._tells_ends = bool(options.get("enable.partition.eof"))
        self._begins = options.get("auto.offset.reset", "latest")
        self._member = self._epoch = 0
        self._topic = ""
        self._callbacks: dict[str, Callable[[Any, Any], None]] = {}
        self._at: dict[int, int] = {}
        """Where each assigned partition is read on."""
        self._told: dict[int, int] = {}
        """The end that was last told of, by partition."""
        self._paused: set[int] = set()

    # As a reader

    def assign(self, partitions: Sequence[Assigned]) -> None:
        self.incremental_assign(partitions)

    def get_watermark_offsets(self, partition: Assigned, timeout: float) -> tuple[int, int]:
        step()
        log = self._site.broker.log(partition.topic, partition.partition)
        return 0, log.reach(self._committed)

    def close(self) -> None:
        if self._member:
            self._tell("on_revoke", sorted(self._at))
            step()
            self._group.dismiss(self._member)

    # As a member

    def subscribe(self, topics: Sequence[str], **callbacks: Callable[[Any, Any], None]) -> None:
        (self._topic,) = topics
        self._callbacks = callbacks
        self._join()

    def _join(self) -> None:
        process = self._site.running
        assert process is not None
        self._member = process.member = self._group.join()
        self._epoch = 0

    def consumer_group_metadata(self) -> tuple[str, int, int]:
        """As the client knows it: a member that was dismissed does not know that yet."""
        return self._group_name, self._member, self._epoch

    def committed(self, partitions: Sequence[Assigned], timeout: float) -> list[Assigned]:
        """Waits until no open transaction may change what it returns."""
        broker = self._site.broker
        step()
        while self._committed and any(
            broker.is_pending(self._group_name, p.partition) for p in partitions
        ):
            step()
        found = [broker.position(self._group_name, p.partition) for p in partitions]
        return [
            Assigned(p.topic, p.partition, OFFSET_INVALID if at is None else at.offset)
            for p, at in zip(partitions, found, strict=True)
        ]

    def incremental_assign(self, partitions: Sequence[Assigned]) -> None:
        for each in partitions:
            self._topic = each.topic
            end = self._site.broker.log(each.topic, each.partition).end
            latest = each.offset == OFFSET_INVALID and self._begins == "latest"
            self._at[each.partition] = end if latest else max(0, each.offset)

    def incremental_unassign(self, partitions: Sequence[Assigned]) -> None:
        gone = [each.partition for each in partitions]
        for partition in gone:
            self._at.pop(partition, None)
            self._paused.discard(partition)
        self._group.give_up(self._member, gone)
        self._epoch = self._group.epochs.get(self._member, self._epoch)

    def seek(self, partition: Assigned) -> None:
        self._at[partition.partition] = partition.offset
        self._told.pop(partition.partition, None)

    def pause(self, partitions: Sequence[Assigned]) -> None:
        self._paused |= {each.partition for each in partitions}

    def resume(self, partitions: Sequence[Assigned]) -> None:
        self._paused -= {each.partition for each in partitions}

    def poll(self, timeout: float) -> Message | None:
        step()
        if self._topic and not self._member and self._callbacks:
            self._join()
            return None
        if self._member and self._rebalance():
            return None
        return next(iter(self._messages(1)), None)

    def consume(self, most: int, timeout: float) -> list[Message]:
        if self._member and self._site.rng.random() < REBALANCED_IN_CONSUME:
            step()
            self._rebalance()
        return self._messages(self._site.rng.randint(0, min(most, 6)))

    def _rebalance(self) -> bool:
        if self._member not in self._group.epochs:
            # Until it has joined again it names no member.
            self._member = 0
            self._tell("on_lost", sorted(self._at))
            return True
        if gone := [p for p in self._at if self._group.target[p] != self._member]:
            self._tell("on_revoke", gone)
            return True
        if taken := self._group.take(self._member):
            self._epoch = self._group.epochs[self._member]
            self._tell("on_assign", taken)
            return True
        return False

    def _tell(self, name: str, partitions: Sequence[int]) -> None:
        if partitions:
            self._callbacks[name](self, [Assigned(self._topic, p) for p in partitions])

    def _messages(self, most: int) -> list[Message]:
        messages: list[Message] = []
        for partition in sorted(self._at.keys() - self._paused):
            log = self._site.broker.log(self._topic, partition)
            found, self._at[partition] = log.read(
                self._at[partition], most - len(messages), committed=self._committed
            )
            messages += [
                Message(topic=self._topic, partition=partition, offset=o, key=r.key, value=r.value)
                for o, r in found
            ]
            at = self._at[partition]
            ends = self._tells_ends and at == log.reach(self._committed)
            if len(messages) < most and ends and self._told.get(partition) != at:
                self._told[partition] = at
                end = KafkaError(KafkaError._PARTITION_EOF)
                messages.append(
                    Message(topic=self._topic, partition=partition, offset=at, error=end)
                )
        return messages
