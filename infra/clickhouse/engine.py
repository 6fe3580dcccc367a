"""The embedded ClickHouse engine: one per process and data folder, with a ceiling on its memory.

It has no users and no listener; `infra.clickhouse.endpoint` adds both. A process that has opened
it must not fork, since the child hangs.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.clickhouse.errors import ClickHouseError, error_from
from infra.clickhouse.folder import OwnedFolder
from infra.clickhouse.port import Value

MIB = 1024 * 1024
CLOSE_S = 10.0
_SETTINGS = re.compile(r"(.*?)(\sSETTINGS\s+\w+\s*=.*)?", re.IGNORECASE | re.DOTALL)
"""Divides an insert where its settings begin, if it has any."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine may take. The process itself, with the engine's code, adds some 250 MiB."""

    memory_bytes: int = 600 * MIB
    query_memory_bytes: int = 300 * MIB
    spill_bytes: int = 100 * MIB
    """Sorts and aggregations that grow past it go to disk instead of failing."""
    threads: int = 2
    background_threads: int = 2
    caches_bytes: int = 64 * MIB

    def server(self) -> dict[str, Value]:
        """Settings of the engine as a whole, given once when it starts."""
        return {
            "max_server_memory_usage": self.memory_bytes,
            "background_pool_size": self.background_threads,
            "background_schedule_pool_size": self.background_threads,
            "max_thread_pool_size": 256,
            "max_io_thread_pool_size": 8,
            "mark_cache_size": self.caches_bytes // 2,
            "index_mark_cache_size": self.caches_bytes // 8,
            "query_condition_cache_size": self.caches_bytes // 8,
            "compiled_expression_cache_size": self.caches_bytes // 8,
        }

    def session(self) -> dict[str, Value]:
        """Settings of every handle."""
        return {
            "max_threads": self.threads,
            "max_insert_threads": 1,
            "max_memory_usage": self.query_memory_bytes,
            "max_bytes_before_external_group_by": self.spill_bytes,
            "max_bytes_before_external_sort": self.spill_bytes,
            "session_timezone": "UTC",
            # A key never moves between partitions, so FINAL need not compare them.
            "do_not_merge_across_partitions_select_final": 1,
        }


class Engine:
    """The one engine of this process. Handles may be used on different threads at once."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        """Opens the folder. Raises `FolderInUse` if another process owns it."""
        import chdb  # 200 MB that only the owner of a folder needs

        self.limits = limits or Limits()
        self._chdb = chdb
        self._folder = OwnedFolder(folder)
        arguments = "&".join(f"{name}={value}" for name, value in self.limits.server().items())
        self._address = f"{self._folder.path}?{arguments}"
        self._changed = threading.Condition()
        self._open = 0
        try:
            # The engine lives as long as a handle is open, so one stays open.
            self._anchor: Any = self._connected()
        except ClickHouseError:
            self._folder.release()
            raise

    def __repr__(self) -> str:
        return f"Engine({self._folder.path})"

    @property
    def path(self) -> Path:
        return self._folder.path

    @contextmanager
    def handle(self, settings: Mapping[str, Value] | None = None) -> Iterator[Handle]:
        """A session of its own, for one thread at a time. Costs about 0.5 ms."""
        with self._changed:
            if self._anchor is None:
                raise ClickHouseError(f"the engine of {self.path} is closed")
            self._open += 1
        connection = None
        try:
            connection = self._connected()
            handle = Handle(connection)
            handle.set({**self.limits.session(), **(settings or {})})
            yield handle
        finally:
            if connection is not None:
                connection.close()
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def kill(self, marker: str) -> None:
        """Cancels the queries whose text begins with `marker`."""
        with self.handle() as handle:
            handle.query(f"KILL QUERY WHERE startsWith(query, {quoted(marker)}) ASYNC")

    def close(self) -> None:
        """Ends the engine once no handle is open any more, or after `CLOSE_S`. May be repeated."""
        with self._changed:
            anchor, self._anchor = self._anchor, None
            # The engine goes on while one is open, and its folder would have two owners.
            self._changed.wait_for(lambda: self._open == 0, CLOSE_S)
        if anchor is not None:
            anchor.close()
            self._folder.release()

    def _connected(self) -> Any:
        try:
            return self._chdb.connect(self._address)
        except RuntimeError as error:
            raise error_from(f"the engine cannot open {self.path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Result:
    """A finished query: its bytes in the format asked for, and what it read."""

    body: bytes
    rows_read: int
    bytes_read: int
    elapsed_s: float


class Handle:
    """One session of the engine."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def set(self, settings: Mapping[str, Value]) -> None:
        """Changes settings of this session. After `readonly = 1` nothing more can be changed."""
        if settings:
            pairs = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
            self.query(f"SET {pairs}")

    def use(self, database: str) -> None:
        """Looks up names without a database in `database` from now on."""
        if database != "default":
            self.query(f"USE `{database}`")

    def query(
        self, sql: str, format: str = "Null", parameters: Mapping[str, str] | None = None
    ) -> Result:
        """Runs a statement to its end. A FORMAT clause in it goes before `format`.

        Parameters are texts as ClickHouse's TSV writes them, see `parameter`.
        """
        try:
            result = self._connection.query(sql, format, params=dict(parameters or {}))
        except RuntimeError as error:
            raise error_from(str(error)) from None
        return Result(result.bytes(), result.rows_read(), result.bytes_read(), result.elapsed())

    def stream(
        self, sql: str, format: str, parameters: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The result block by block, each block in `format` on its own."""
        try:
            blocks = self._connection.send_query(sql, format, params=dict(parameters or {}))
            try:
                for block in blocks:
                    yield block.bytes()
            finally:
                blocks.close()
        except RuntimeError as error:
            raise error_from(str(error)) from None

    def insert(self, sql: str, format: str, data: bytes) -> None:
        """Feeds `INSERT INTO t (a, b)`, with settings or without, with bytes of a format.

        Not by chDB's own streaming inserts: they report success where the engine fails at the
        end, for want of room on the disk or of memory, and the rows are lost (4.4.0).
        """
        # Settings of the statement's own stand behind the file's name.
        begins, settings = _SETTINGS.fullmatch(sql).groups()  # type: ignore[union-attr]
        with _file_of(data) as path:
            self.query(f"{begins} FROM INFILE {quoted(path)} {settings or ''} FORMAT {format}")

    def classify(self, sql: str) -> tuple[str, int]:
        """What the engine's own parser calls the text (`READ_ONLY`, `MUTATING`, `CONTROL`, …),
        and of how many statements it consists."""
        found = self._connection._conn.classify_query(sql)
        return found["query_class"].name, found["statement_count"]


@contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    """The path of a file with this content, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("parley-insert"), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as named:
            named.write(data)
            named.flush()
            yield named.name


def quoted(text: str) -> str:
    """A string literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def literal(value: Value) -> str:
    """A literal that ClickHouse turns into the type that is wanted."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, (int, float)) else quoted(value)


def parameter(value: Value) -> str:
    """A query parameter as ClickHouse reads it: like a field of TSV."""
    if not isinstance(value, str):
        return literal(value)
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
