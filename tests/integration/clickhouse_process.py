"""The embedded engine and its endpoint in a spawned process of their own, as they run for real.

`Spawned` answers the port of ClickHouse by asking that process, so that one suite can run on the
engine and over HTTP.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OWNER_TOKEN = "owner-token"
TENANT_TOKEN = "tenant-a-token"

_here: dict[str, Any] = {}


class Spawned:
    """ClickHouse's port, answered by another process that owns the folder."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._killed = False
        self._pool = ProcessPoolExecutor(1, mp_context=context)
        self.http_port: int = self._pool.submit(_open, str(folder)).result(60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def command(self, sql: str, settings: Any = None) -> None:
        self._ask("command", sql, settings)

    def query_arrow(self, sql: str, parameters: Any = None, settings: Any = None) -> Any:
        return self._ask("query_arrow", sql, parameters, settings)

    def query_rows(self, sql: str, parameters: Any = None, settings: Any = None) -> Any:
        return self._ask("query_rows", sql, parameters, settings)

    def insert_arrow(self, table: str, rows: Any, settings: Any = None) -> None:
        self._ask("insert_arrow", table, rows, settings)

    def close(self) -> None:
        if not self._killed:
            self._pool.submit(_close).result(60)
        self._pool.shutdown()

    def kill(self) -> None:
        """Ends the process as `kill -9` does."""
        (process,) = self._pool._processes.values()
        process.kill()
        process.join(10)
        self._killed = True

    def _ask(self, method: str, *arguments: Any) -> Any:
        return self._pool.submit(_call, method, arguments).result(120)


def close_while_a_handle_is_open(folder: Path) -> list[str]:
    """What happens in which order, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_close_while_open, str(folder)).result(60)


def _close_while_open(folder: str) -> list[str]:
    from infra.clickhouse.engine import Engine

    engine, told = Engine(Path(folder)), []
    opened, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with engine.handle() as handle:
            opened.set()
            go_on.wait(30)
            told.append(f"asked: {handle.query('SELECT 1', format='TSV').body.decode().strip()}")

    def close() -> None:
        engine.close()
        told.append("closed")

    holding, closing = threading.Thread(target=hold), threading.Thread(target=close)
    holding.start()
    opened.wait(30)
    closing.start()
    closing.join(0.3)
    go_on.set()
    holding.join()
    closing.join()
    Engine(Path(folder)).close()
    return [*told, "opened again"]


@contextmanager
def clickhouse_process(folder: Path) -> Iterator[Spawned]:
    """A process with an engine on `folder` and an endpoint on a free port."""
    spawned = Spawned(folder)
    try:
        yield spawned
    finally:
        spawned.close()


def _open(folder: str) -> int:
    from infra.clickhouse.embedded import EmbeddedClickHouse
    from infra.clickhouse.endpoint import Access, Reader, Role, SqlEndpoint
    from infra.clickhouse.engine import Engine

    engine = Engine(Path(folder))
    for database in ("parley", "parley_tenant"):
        EmbeddedClickHouse(engine).command(f"CREATE DATABASE IF NOT EXISTS {database}")
    readers = {OWNER_TOKEN: Reader(Role.OWNER), TENANT_TOKEN: Reader(Role.TENANT, "tenant-a")}
    endpoint = SqlEndpoint(engine, Access(tokens=readers))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(endpoint.start(port=0), loop).result(30)
    _here.update(
        engine=engine, endpoint=endpoint, loop=loop, port=EmbeddedClickHouse(engine, "parley")
    )
    return endpoint.port


def _call(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_here["port"], method)(*arguments)


def _close() -> None:
    asyncio.run_coroutine_threadsafe(_here["endpoint"].close(), _here["loop"]).result(30)
    _here["loop"].call_soon_threadsafe(_here["loop"].stop)
    _here["engine"].close()
