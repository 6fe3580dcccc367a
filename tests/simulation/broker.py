"""Kafka as far as the engine relies on it: logs, groups' positions, and fencing.

One partition of each topic is enough: what matters is who owns it, and who still thinks so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sinks.port import Position


class Fenced(Exception):
    """Another process has taken over since."""


class Record(NamedTuple):
    """A record as the log has it."""

    key: bytes
    value: bytes


class Written(NamedTuple):
    """A record on its way, with its topic."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Ownership:
    """A stage's partition in one process's hands: its group generation and its producer's epoch."""

    stage: str
    epoch: int


class Broker:
    """Takes part in nothing but what clients call, so a run is decided by who calls when."""

    def __init__(self) -> None:
        self._logs: dict[str, list[Record]] = defaultdict(list)
        self._positions: dict[str, Position] = {}
        self._epochs: dict[str, int] = defaultdict(int)
        self.changes = 0

    def take_over(self, stage: str, *, fences: bool = True) -> Ownership:
        """Gives the partition to the caller and fences whoever had it."""
        self._epochs[stage] += fences
        return Ownership(stage, self._epochs[stage])

    def end(self, topic: str) -> int:
        """The offset of the next record."""
        return len(self._logs[topic])

    def read(self, topic: str, start: int, most: int = 1000) -> Sequence[tuple[int, Record]]:
        """Records from an offset on, with their offsets."""
        return list(enumerate(self._logs[topic][start : start + most], start))

    def append(self, written: Written) -> None:
        """Writes a record outside any transaction: fencing does not reach it."""
        self._logs[written.topic].append(Record(written.key, written.value))
        self.changes += 1

    def position(self, stage: str) -> Position:
        """Where the stage's group stands."""
        return self._positions.get(stage, Position(0))

    def commit(
        self, owner: Ownership, position: Position, writes: Sequence[Written] = ()
    ) -> list[int]:
        """A position, and records with it, or nothing. Returns the records' offsets.

        Raises `Fenced` where the caller owns the partition no more.
        """
        if owner.epoch != self._epochs[owner.stage]:
            raise Fenced(owner.stage)
        if position != self.position(owner.stage):
            self._positions[owner.stage] = position
            self.changes += 1
        offsets = []
        for written in writes:
            offsets.append(self.end(written.topic))
            self.append(written)
        return offsets
