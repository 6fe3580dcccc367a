"""Runs one request's statement on a thread and hands its result to the event loop in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError as FutureCancelled
from dataclasses import dataclass, field
from types import MappingProxyType

from infra.clickhouse.endpoint.access import Reader, Role
from infra.clickhouse.endpoint.ask import Ask
from infra.clickhouse.endpoint.formats import is_concatenable
from infra.clickhouse.endpoint.options import TRANSPORT, settings_from
from infra.clickhouse.engine import Engine, Handle
from infra.clickhouse.errors import ClickHouseError, error_from
from infra.clickhouse.functions import Functions
from infra.clickhouse.guard import View, guarded, is_select
from infra.clickhouse.port import Value

PIECES_AHEAD = 8
UNKNOWN_DATABASE = 81


@dataclass(frozen=True, slots=True)
class Databases:
    """Where readers look: operators into the whole database, tenants into their views.

    The views of `tenants` filter on `getSetting('log_comment')`, which is the tenant's id.
    """

    operators: str = "parley"
    tenants: str = "parley_tenant"


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that one statement of a reader may take."""

    max_execution_time: int = 60
    max_memory_usage: int = 300 * 1024 * 1024
    max_threads: int = 2
    max_result_rows: int = 10_000_000
    max_result_bytes: int = 1024 * 1024 * 1024
    buffered_bytes: int = 64 * 1024 * 1024
    """Results in formats that cannot be sent block by block are held in memory."""

    def caps(self, format: str) -> Mapping[str, int]:
        bytes_max = self.max_result_bytes if is_concatenable(format) else self.buffered_bytes
        return MappingProxyType(
            {
                "max_execution_time": self.max_execution_time,
                "max_memory_usage": self.max_memory_usage,
                "max_threads": self.max_threads,
                "max_result_rows": self.max_result_rows,
                "max_result_bytes": bytes_max,
            }
        )


@dataclass(slots=True)
class Pieces:
    """A result on its way from the thread to the response: bytes, an error, and then None."""

    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[bytes | ClickHouseError | None] = field(
        default_factory=lambda: asyncio.Queue(PIECES_AHEAD)
    )

    def put(self, piece: bytes | ClickHouseError | None) -> None:
        """Hands a piece over, and waits while the client is slower."""
        asyncio.run_coroutine_threadsafe(self.queue.put(piece), self.loop).result()


class Executor:
    """What a statement of a reader means in this engine."""

    def __init__(
        self, engine: Engine, functions: Functions, databases: Databases, quota: Quota
    ) -> None:
        self._engine = engine
        self._functions = functions
        self._databases = databases
        self._quota = quota

    def run(self, ask: Ask, reader: Reader, marker: str, pieces: Pieces) -> None:
        """Runs to the end or to an error, both of which end up in `pieces`. Blocks.

        `marker` begins the statement's text, so that it can be killed.
        """
        end: ClickHouseError | None = None
        try:
            for piece in self._result(ask, reader, marker):
                pieces.put(piece)
        except ClickHouseError as error:
            end = error
        except (asyncio.CancelledError, FutureCancelled):
            return  # the client is gone
        except RuntimeError as error:
            end = error_from(str(error))
        pieces.put(end)

    def kill(self, marker: str) -> None:
        """Ends a statement that nobody waits for any more."""
        self._engine.kill(marker)

    def _result(self, ask: Ask, reader: Reader, marker: str) -> Iterator[bytes]:
        if reader.role is Role.OWNER:
            with self._engine.handle(_owner_settings(ask)) as handle:
                handle.use(ask.database or self._databases.operators)
                yield from _owned(handle, ask, marker)
            return
        with self._engine.handle(self._settings(ask, reader)) as handle:
            view = self._view(handle, ask, reader)
            _use(handle, view.database)
            handle.set({"readonly": 1})
            sql = guarded(handle, ask.sql, view, self._functions, **ask.parameters)
            yield from _answer(handle, ask, sql, marker)

    def _settings(self, ask: Ask, reader: Reader) -> dict[str, Value]:
        settings = settings_from(ask.query, self._quota.caps(ask.format))
        settings.setdefault("output_format_native_encode_types_in_binary_format", 0)
        settings["log_comment"] = reader.tenant_id
        return settings

    def _view(self, handle: Handle, ask: Ask, reader: Reader) -> View:
        listed = handle.query("SELECT name FROM system.databases", "TSVRaw").body.decode().split()
        names = frozenset((*listed, "system", "information_schema", "INFORMATION_SCHEMA"))
        wanted = "" if ask.database == "default" else ask.database
        if reader.role is Role.TENANT:
            if wanted not in ("", self._databases.operators, self._databases.tenants):
                raise _no_database(wanted)
            allowed = frozenset(("system.one", "system.settings", "system.numbers"))
            return View(self._databases.tenants, names, allowed)
        if wanted and wanted not in names:
            raise _no_database(wanted)
        return View(wanted or self._databases.operators, names, None)


def _use(handle: Handle, database: str) -> None:
    """Before the first migration there is no database yet, and `SELECT 1` works all the same."""
    try:
        handle.use(database)
    except ClickHouseError as error:
        if error.code != UNKNOWN_DATABASE:
            raise


def _answer(handle: Handle, ask: Ask, sql: str, marker: str) -> Iterator[bytes]:
    if is_concatenable(ask.format) and is_select(sql):
        yield from handle.stream(marker + sql, ask.format, ask.parameters)
    else:
        yield handle.query(marker + sql, ask.format, ask.parameters).body


def _owned(handle: Handle, ask: Ask, marker: str) -> Iterator[bytes]:
    if ask.sql.lstrip()[:6].upper() == "INSERT" and (ask.data or ask.named):
        handle.insert(ask.sql, ask.format, ask.data)
        yield b""
    else:
        yield from _answer(handle, ask, ask.sql, marker)


def _owner_settings(ask: Ask) -> dict[str, Value]:
    return {
        name: value
        for name, value in ask.query.items()
        if name not in TRANSPORT and not name.startswith("param_")
    }


def _no_database(name: str) -> ClickHouseError:
    return ClickHouseError(
        f"Database {name} does not exist here", UNKNOWN_DATABASE, "UNKNOWN_DATABASE"
    )
