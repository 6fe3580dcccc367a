"""ClickHouse over HTTP: the port on clickhouse-connect, for a real server or our own endpoint."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import Error, OperationalError

from infra.clickhouse.errors import ClickHouseUnavailable, error_from
from infra.clickhouse.port import Row, Value, rows_of

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
_GATEWAY = re.compile(r"HTTP status (?:429|5\d\d)")
"""A proxy in front of the server speaks, not ClickHouse."""
_ERRNO = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")


class RemoteClickHouse:
    """The port for everyone who has an address. Connects at the first call, from any thread."""

    def __init__(
        self,
        url: str,
        *,
        user: str = "default",
        password: str = "",
        token: str | None = None,
        database: str = "default",
        timeout_s: float = 300.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """`url` is `http(s)://host:port`; a `token` goes before user and password.

        `options` go to `clickhouse_connect.get_client` as they are, TLS among them.
        """
        self._address = urlsplit(url).netloc.rpartition("@")[2]
        self._database = database
        given = dict(options or {})
        token = given.pop("access_token", token)
        who = {"access_token": token} if token else {"username": user, "password": password}
        tls = urlsplit(url).scheme == "https"
        self._arguments: dict[str, Any] = {
            "dsn": url,
            # Left alone, the client infers this from the port and would speak in the clear.
            "interface": "https" if tls else "http",
            "database": database,
            "autogenerate_session_id": False,  # a session would allow one call at a time
            "send_receive_timeout": timeout_s,
            "connect_timeout": 5,
            **who,
            **given,
        }
        # With a pool that is there already, the client would leave out the options of TLS.
        if not tls and not given.get("dedicated_pool") and _is_loopback(url):
            # A proxy of the environment is for the world outside.
            self._arguments.setdefault("pool_mgr", urllib3.PoolManager(maxsize=8, retries=False))
        self._lock = threading.Lock()
        self._client: Any = None

    def __repr__(self) -> str:
        return f"RemoteClickHouse({self._address}, {self._database})"

    def command(self, sql: str, settings: Mapping[str, Value] | None = None) -> None:
        self._ask(lambda client: client.command(sql, settings=dict(settings or {})))

    def query_arrow(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        settings: Mapping[str, Value] | None = None,
    ) -> pa.Table:
        return self._ask(
            lambda client: client.query_arrow(
                sql,
                parameters=dict(parameters or {}),
                settings=dict(settings or {}),
                use_strings=True,
            )
        )

    def query_rows(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        settings: Mapping[str, Value] | None = None,
    ) -> list[Row]:
        return rows_of(self.query_arrow(sql, parameters, settings))

    def stream(self, sql: str, format: str | None) -> Iterator[bytes]:
        """The result in a format of ClickHouse, in pieces; None if the statement names its own."""
        answer = self._ask(lambda client: client.raw_stream(sql, fmt=format))
        try:
            while piece := self._ask(lambda _: answer.read(CHUNK_BYTES)):
                yield piece
        finally:
            answer.close()

    def insert_arrow(
        self, table: str, rows: pa.Table, settings: Mapping[str, Value] | None = None
    ) -> None:
        self._ask(
            lambda client: client.insert_arrow(
                table, rows.combine_chunks(), settings=dict(settings or {})
            )
        )

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, call: Callable[[Any], T]) -> T:
        try:
            return call(self._connected())
        except Error as error:
            found = error_from(str(error))
            if found.code or not (
                isinstance(error, OperationalError) or _GATEWAY.search(str(error))
            ):
                raise found from None
            raise self._silent(error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> ClickHouseUnavailable:
        reason = _ERRNO.search(str(error))
        why = reason.group(1) if reason else str(error)
        return ClickHouseUnavailable(f"ClickHouse at {self._address} does not answer: {why}")

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = clickhouse_connect.get_client(**self._arguments)
            return self._client


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
