"""Folded state by partition, behind one small interface; here the store that lives in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Change(NamedTuple):
    """A key's new state, as an object and as the bytes that the changelog holds."""

    key: bytes
    state: Any
    encoded: bytes


@dataclass(frozen=True, slots=True)
class StateFormat(Generic[S]):
    """How a stage's states are written, and when they ask to be looked at again."""

    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]
    next_deadline_us: Callable[[S], int | None]


class PartitionState(Protocol[S_co]):
    """The states of one partition. Changed only after the transaction that changed the log."""

    @property
    def changelog_offset(self) -> int:
        """All of the changelog before this offset is in here. 0: nothing is known to be."""
        ...

    def get(self, key: bytes) -> S_co | None:
        """The state of a key."""
        ...

    def restore(self, records: Sequence[tuple[bytes, bytes | None]], next_offset: int) -> None:
        """Takes over a stretch of the changelog."""
        ...

    def apply(self, changes: Sequence[Change], next_offset: int | None) -> None:
        """Takes over what a transaction wrote; `next_offset` follows its last changelog record."""
        ...

    def deadlines(self) -> Iterable[tuple[bytes, int]]:
        """Keys whose states have a deadline, with it in microseconds."""
        ...

    def close(self) -> None:
        """Lets go of files. The state stays valid for the next opening."""
        ...


class MemoryState(Generic[S]):
    """States in a dict. Starts empty, so the whole changelog is read at every assignment."""

    changelog_offset = 0

    def __init__(self, layout: StateFormat[S]) -> None:
        self._format = layout
        self._states: dict[bytes, S] = {}

    def get(self, key: bytes) -> S | None:
        return self._states.get(key)

    def restore(self, records: Sequence[tuple[bytes, bytes | None]], next_offset: int) -> None:
        # The last record of a key counts, so earlier ones need no decoding.
        for key, value in dict(records).items():
            if value is None:
                self._states.pop(key, None)
            else:
                self._states[key] = self._format.decode(value)

    def apply(self, changes: Sequence[Change], next_offset: int | None) -> None:
        for change in changes:
            self._states[change.key] = change.state

    def deadlines(self) -> Iterable[tuple[bytes, int]]:
        for key, state in self._states.items():
            deadline_us = self._format.next_deadline_us(state)
            if deadline_us is not None:
                yield key, deadline_us

    def close(self) -> None:
        self._states.clear()
