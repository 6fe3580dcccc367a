"""Kafka as far as the engine relies on it: partitioned logs, groups, transactions, and fencing.

It takes part in nothing but what clients call, so a run is decided by who calls when.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from sinks.port import Position, TopicPartition

PARTITIONS = 2
"""Of every topic: what moves together and what does not is all that matters."""


class Fenced(Exception):
    """Another process has taken over since."""


class Stale(Exception):
    """The group has dismissed the member, or has given it another assignment."""


class Record(NamedTuple):
    """A record as the log has it."""

    key: bytes
    value: bytes


class Written(NamedTuple):
    """A record on its way, with its topic."""

    topic: str
    key: bytes
    value: bytes


class _State(Enum):
    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(slots=True)
class _Entry:
    """What an offset holds: a record, or the marker that ends a transaction."""

    record: Record | None
    state: _State


class Log:
    """One partition. A transaction's records and its marker take offsets, whatever its outcome."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    @property
    def end(self) -> int:
        """The offset of what is written next."""
        return len(self._entries)

    @property
    def stable(self) -> int:
        """What lies before it is decided: as far as a `read_committed` reader gets."""
        return next((n for n, e in enumerate(self._entries) if e.state is _State.OPEN), self.end)

    def reach(self, committed: bool) -> int:
        """As far as a reader of an isolation level gets."""
        return self.stable if committed else self.end

    def append(self, record: Record | None, state: _State) -> _Entry:
        """Writes at the end."""
        entry = _Entry(record, state)
        self._entries.append(entry)
        return entry

    def read(
        self, start: int, most: int, *, committed: bool = True
    ) -> tuple[list[tuple[int, Record]], int]:
        """Records from an offset on, with theirs, and where to read on."""
        found: list[tuple[int, Record]] = []
        at, reach = start, self.reach(committed)
        while at < reach and len(found) < most:
            entry = self._entries[at]
            counts = entry.state is _State.COMMITTED or not committed
            if entry.record is not None and counts:
                found.append((at, entry.record))
            at += 1
        return found, at


@dataclass(slots=True)
class _Transaction:
    """One that has begun, or whose end is decided and not everywhere yet."""

    began_us: int
    entries: dict[TopicPartition, list[_Entry]] = field(default_factory=dict)
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    """By group and partition; they take effect with the rest."""
    outcome: _State = _State.OPEN


@dataclass(frozen=True, slots=True)
class Ownership:
    """A stage in one process's hands, where it is one process's alone."""

    stage: str
    epoch: int


@dataclass(slots=True)
class Group:
    """A consumer group: which member has which partition, and which it shall have."""

    owner: dict[int, int | None] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS)))
    target: dict[int, int | None] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS)))
    epochs: dict[int, int] = field(default_factory=dict)
    """Of the members that are not dismissed."""
    _members: int = 0

    def join(self) -> int:
        """A new member; it gets what nobody is to have."""
        self._members += 1
        self.epochs[self._members] = 0
        for partition, member in self.target.items():
            if member is None:
                self.target[partition] = self._members
        return self._members

    def dismiss(self, member: int) -> None:
        """The member has not been heard of for too long: others get its partitions at once."""
        self.epochs.pop(member, None)
        others = sorted(self.epochs)
        for partition in range(PARTITIONS):
            if self.target[partition] == member:
                self.target[partition] = others[partition % len(others)] if others else None
            if self.owner[partition] == member:
                self.owner[partition] = None

    def move(self, partition: int, number: int) -> None:
        """Another member shall have the partition, once its owner has given it up."""
        if self.epochs:
            self.target[partition] = sorted(self.epochs)[number % len(self.epochs)]

    def take(self, member: int) -> list[int]:
        """The free partitions that the member shall have; it owns them now."""
        taken = [p for p, m in self.target.items() if m == member and self.owner[p] is None]
        for partition in taken:
            self.owner[partition] = member
            self.epochs[member] += 1
        return taken

    def give_up(self, member: int, partitions: list[int]) -> None:
        """The member has let them go."""
        for partition in partitions:
            if self.owner[partition] == member:
                self.owner[partition] = None
        if member in self.epochs:
            self.epochs[member] += 1


class Broker:
    """All of it."""

    def __init__(self) -> None:
        self._logs: dict[TopicPartition, Log] = defaultdict(Log)
        self._positions: dict[tuple[str, int], Position] = {}
        self._epochs: dict[str, int] = defaultdict(int)
        self._open: dict[str, _Transaction] = {}
        self.groups: dict[str, Group] = defaultdict(Group)
        self.checks_epochs = self.checks_members = True
        """False breaks the promise that a producer, or a member, that was replaced can't write."""
        self.changes = 0

    # Logs

    def log(self, topic: str, partition: int) -> Log:
        """One partition of a topic."""
        return self._logs[TopicPartition(topic, partition)]

    def read(self, topic: str) -> Iterator[Record]:
        """Everything that is committed; the order holds within a partition."""
        for partition in range(PARTITIONS):
            log = self.log(topic, partition)
            yield from (record for _, record in log.read(0, log.end)[0])

    def append(self, written: Written) -> None:
        """Writes a record outside any transaction: fencing does not reach it."""
        self._log_of(written).append(Record(written.key, written.value), _State.COMMITTED)
        self.changes += 1

    def _log_of(self, written: Written) -> Log:
        return self._logs[place_of(written)]

    # Positions

    def position(self, group: str, partition: int) -> Position | None:
        """Where the group stands, None at its beginning."""
        return self._positions.get((group, partition))

    def is_pending(self, group: str, partition: int) -> bool:
        """Whether an open transaction may still change where the group stands."""
        return any((group, partition) in each.positions for each in self._open.values())

    def take_over(self, stage: str) -> Ownership:
        """Gives a stage to the caller, and fences whoever had it."""
        self._epochs[stage] += 1
        return Ownership(stage, self._epochs[stage])

    def commit(self, owner: Ownership, positions: Mapping[int, Position]) -> None:
        """Positions of a stage that one process has to itself. Raises `Fenced`."""
        if owner.epoch != self._epochs[owner.stage]:
            raise Fenced(owner.stage)
        for partition, position in positions.items():
            self.settle(owner.stage, partition, position)

    def settle(self, group: str, partition: int, position: Position) -> None:
        """Where the group stands from now on, whoever says so."""
        if self._positions.get((group, partition)) != position:
            self._positions[group, partition] = position
            self.changes += 1

    # Transactions

    @property
    def open_transactions(self) -> int:
        """Those that have written and not ended everywhere."""
        return len(self._open)

    def is_ending(self, transactional_id: str) -> bool:
        """Whether the last transaction under the id is decided and not everywhere yet."""
        transaction = self._open.get(transactional_id)
        return transaction is not None and transaction.outcome is not _State.OPEN

    def begin(self, transactional_id: str) -> int:
        """The epoch of a new producer under the id; what an earlier one left open is aborted."""
        if self.checks_epochs:
            self._decide(transactional_id, _State.ABORTED)
            self._epochs[transactional_id] += 1
        return self._epochs[transactional_id]

    def produce(self, transactional_id: str, epoch: int, written: Written, now_us: int) -> int:
        """Writes a record that nobody sees yet. Returns its offset. Raises `Fenced`."""
        transaction = self._transaction(transactional_id, epoch, now_us)
        log = self._log_of(written)
        entry = log.append(Record(written.key, written.value), _State.OPEN)
        transaction.entries.setdefault(place_of(written), []).append(entry)
        self.changes += 1
        return log.end - 1

    def add_offsets(
        self,
        transactional_id: str,
        epoch: int,
        group: str,
        member: tuple[int, int],
        positions: Mapping[int, Position],
        now_us: int,
    ) -> None:
        """Positions that take effect with the transaction. Raises `Fenced` and `Stale`.

        Who names no member is not checked.
        """
        transaction = self._transaction(transactional_id, epoch, now_us)
        number, member_epoch = member
        stale = number and self.groups[group].epochs.get(number) != member_epoch
        if stale and self.checks_members:
            raise Stale(group)
        for partition, position in positions.items():
            transaction.positions[group, partition] = position
        self.changes += 1

    def end(self, transactional_id: str, epoch: int, *, committed: bool) -> None:
        """Decides that everything takes effect, or nothing. Raises `Fenced`."""
        self._check(transactional_id, epoch)
        self._decide(transactional_id, _State.COMMITTED if committed else _State.ABORTED)

    def abort_older(self, than_us: int) -> None:
        """Ends transactions that began before a moment, and fences whoever began them."""
        for transactional_id, transaction in list(self._open.items()):
            if transaction.began_us < than_us and transaction.outcome is _State.OPEN:
                self._decide(transactional_id, _State.ABORTED)
                if self.checks_epochs:
                    self._epochs[transactional_id] += 1

    def _transaction(self, transactional_id: str, epoch: int, now_us: int) -> _Transaction:
        self._check(transactional_id, epoch)
        return self._open.setdefault(transactional_id, _Transaction(now_us))

    def _check(self, transactional_id: str, epoch: int) -> None:
        if epoch != self._epochs[transactional_id] and self.checks_epochs:
            raise Fenced(transactional_id)

    def _decide(self, transactional_id: str, outcome: _State) -> None:
        transaction = self._open.get(transactional_id)
        if transaction is not None and transaction.outcome is _State.OPEN:
            transaction.outcome = outcome
            self.changes += 1

    def write_marker(self) -> None:
        """What was decided reaches one more partition, or the group's positions."""
        for transactional_id, transaction in self._open.items():
            if transaction.outcome is not _State.OPEN:
                self._write_marker(transaction)
                if not transaction.entries and not transaction.positions:
                    del self._open[transactional_id]
                self.changes += 1
                return

    def _write_marker(self, transaction: _Transaction) -> None:
        if transaction.entries:
            place, entries = transaction.entries.popitem()
            for entry in entries:
                entry.state = transaction.outcome
            self._logs[place].append(None, transaction.outcome)
        elif transaction.positions:
            (group, partition), position = transaction.positions.popitem()
            if transaction.outcome is _State.COMMITTED:
                self.settle(group, partition, position)


def place_of(written: Written) -> TopicPartition:
    """Where a record belongs, by its key."""
    return TopicPartition(written.topic, written.key[-1] % PARTITIONS)
