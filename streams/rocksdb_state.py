"""States in RocksDB, with the changelog offset that they reach, so a restart reads only the tail.

Written after the commit, never before: a crash in between leaves an older state and its offset,
and the tail of the changelog brings both forward.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from rocksdict import Options, Rdict, WriteBatch

from streams.state import Change, StateFormat

S = TypeVar("S")

STATE = b"s"
DEADLINE = b"d"
OFFSET = b"offset"
LOG_ID = b"log"
CACHED_STATES = 20_000
HELD = ("lock hold by", "temporarily unavailable")
"""What RocksDB says of a folder that this process, or another one, has open."""


class StateInUse(Exception):
    """Another worker of this machine still has the partition's folder open."""


class RocksState(Generic[S]):
    """One partition's states in a folder of its own.

    `log_id` names the incarnation of the changelog: a folder of another one is emptied, since
    its offsets mean nothing any more. Raises `StateInUse`.
    """

    def __init__(self, folder: Path, layout: StateFormat[S], log_id: str) -> None:
        self._format = layout
        self._cache: OrderedDict[bytes, S] = OrderedDict()
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._db = _open(folder)
        if self._db.get(LOG_ID) != log_id.encode():
            self._db.close()
            shutil.rmtree(folder)
            self._db = _open(folder)
            self._db[LOG_ID] = log_id.encode()

    @property
    def changelog_offset(self) -> int:
        stored = self._db.get(OFFSET)
        return 0 if stored is None else int(stored)

    def get(self, key: bytes) -> S | None:
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached
        encoded = self._db.get(STATE + key)
        if encoded is None:
            return None
        state = self._format.decode(encoded)
        self._keep(key, state)
        return state

    def restore(self, records: Sequence[tuple[bytes, bytes | None]], next_offset: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in dict(records).items():
            self._cache.pop(key, None)
            if value is None:
                batch.delete(STATE + key)
                batch.delete(DEADLINE + key)
            else:
                self._put(batch, key, self._format.decode(value), value)
        batch.put(OFFSET, str(next_offset).encode())
        self._db.write(batch)

    def apply(self, changes: Sequence[Change], next_offset: int | None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, state, encoded in changes:
            self._keep(key, state)
            self._put(batch, key, state, encoded)
        if next_offset is not None:
            batch.put(OFFSET, str(next_offset).encode())
        self._db.write(batch)

    def deadlines(self) -> Iterable[tuple[bytes, int]]:
        for key, value in self._db.items(from_key=DEADLINE):
            if not key.startswith(DEADLINE):
                return
            yield key[len(DEADLINE) :], int(value)

    def close(self) -> None:
        self._cache.clear()
        self._db.close()

    def _put(self, batch: WriteBatch, key: bytes, state: S, encoded: bytes) -> None:
        batch.put(STATE + key, encoded)
        deadline_us = self._format.next_deadline_us(state)
        if deadline_us is None:
            batch.delete(DEADLINE + key)
        else:
            batch.put(DEADLINE + key, str(deadline_us).encode())

    def _keep(self, key: bytes, state: S) -> None:
        self._cache[key] = state
        self._cache.move_to_end(key)
        if len(self._cache) > CACHED_STATES:
            self._cache.popitem(last=False)


def _open(folder: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    try:
        return Rdict(str(folder), options)
    except Exception as error:  # rocksdict raises nothing more precise
        if f"{folder / 'LOCK'}:" in str(error) and any(word in str(error) for word in HELD):
            raise StateInUse(f"{folder} is open elsewhere") from error
        raise
