"""The two databases a key store can live in, and what differs between them.

SQLite (embedded) runs with a write-ahead log, full synchronisation and overwriting of deleted
content; PostgreSQL is reached by URL. Every failure leaves here as `KeyStoreUnavailable`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url

from infra.keys.errors import KeyStoreUnavailable, KeyStoreUnusable
from infra.keys.tables import DATA_KEYS, METADATA, STORE, STORE_VERSION

_LOG = logging.getLogger(__name__)
_SCHEMA_LOCK = 7_016_914_833
"""Any fixed number: processes that create the tables at once take this PostgreSQL lock."""
_CUT_WAIT_MS = 200
"""Longest wait for readers before SQLite's log is cut; those of this program take far less."""
_BUSY_S = 0.01
PLATFORM = {"tenant_id": "", "subject": "platform", "month": "", "version": 1}
"""Where the platform's own key stands among the data keys: no tenant, no month."""


class KeyDatabase:
    """Short transactions on one database. Safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._log_is_kept = False

    def __repr__(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Gives back all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = False) -> Iterator[sa.Connection]:
        """One transaction; a database that fails raises `KeyStoreUnavailable`."""
        try:
            with (self._writer if writes else self._engine).begin() as connection:
                yield connection
        except (sa.exc.ProgrammingError, sa.exc.IntegrityError, sa.exc.DataError):
            raise
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            # The statement's parameters are in the error's text; the driver's words are enough.
            cause = str(getattr(error, "orig", None) or "no connection was free").splitlines()[0]
            raise KeyStoreUnavailable(
                f"key store {self!r} does not answer ({cause}): "
                "check KEY_STORE_URL and the database"
            ) from None

    def insert_new(self, connection: sa.Connection, table: sa.Table, **values: Any) -> None:
        """Inserts a row unless one with the same key is there, whoever was faster."""
        insert = sqlite.insert if self._is_sqlite else postgresql.insert
        connection.execute(insert(table).values(**values).on_conflict_do_nothing())

    def prepare(self, new_platform_key: bytes) -> bytes:
        """Makes the tables if they are absent; returns the platform's key, still wrapped.

        `new_platform_key` (wrapped) is taken when the store is new. Raises `KeyStoreUnusable`
        for a store that a newer Parley wrote.
        """
        with self.transaction() as connection:
            made = sa.inspect(connection).has_table(STORE.name)
        if not made:
            with self.transaction(writes=True) as connection:
                self._create(connection, new_platform_key)
        with self.transaction() as connection:
            version = connection.execute(sa.select(STORE.c.version)).scalar_one()
            if version > STORE_VERSION:
                raise KeyStoreUnusable(
                    f"key store {self!r} has version {version}, this Parley knows "
                    f"{STORE_VERSION}: use the newer Parley"
                )
            platform = sa.select(DATA_KEYS.c.wrapped).filter_by(**PLATFORM)
            return bytes(connection.execute(platform).scalar_one())

    def _create(self, connection: sa.Connection, new_platform_key: bytes) -> None:
        if not self._is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        METADATA.create_all(connection)
        self.insert_new(connection, STORE, id=1, version=STORE_VERSION, generation=0)
        self.insert_new(
            connection,
            DATA_KEYS,
            **PLATFORM,
            wrapped=new_platform_key,
            created_at=int(time.time()),
        )

    def overwrite_deleted(self) -> bool:
        """Takes deleted rows out of SQLite's write-ahead log, which still holds the pages from
        before: they move into the file, where deleted content is overwritten.

        Returns whether that is done. It can't be while somebody reads in one long transaction.
        """
        if not self._is_sqlite:
            return True
        try:
            with contextlib.closing(self._engine.raw_connection()) as connection:
                done = _cut_log(connection.cursor())
        except (sa.exc.SQLAlchemyError, sqlite3.Error):
            done = False
        if not done and not self._log_is_kept:
            _LOG.warning(
                "the log of key store %r may still hold erased keys: it can't be cut while "
                "somebody reads the store in one long transaction, and is tried again until then",
                self,
            )
        elif done and self._log_is_kept:
            _LOG.info("the log of key store %r is cut: it holds no erased keys", self)
        self._log_is_kept = not done
        return done


def _cut_log(cursor: Any) -> bool:
    """Whether the log was cut. A checkpoint that has to wait does not fail, it says so."""
    (wait_ms,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    # Whoever wants to write waits as long as this does.
    cursor.execute(f"PRAGMA busy_timeout={min(wait_ms, _CUT_WAIT_MS)}")
    try:
        ((busy, _, _),) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        cursor.execute(f"PRAGMA busy_timeout={wait_ms}")
    return not busy


def open_database(address: str, timeout_ms: int) -> KeyDatabase:
    """Opens the database at a SQLAlchemy URL without asking it anything yet.

    `timeout_ms` bounds connecting, waiting for locks and every statement. Raises
    `KeyStoreUnusable` for an address that is neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(address)
    except sa.exc.ArgumentError:
        raise KeyStoreUnusable("KEY_STORE_URL is not a SQLAlchemy address: correct it") from None
    match url.get_backend_name():
        case "sqlite":
            return KeyDatabase(_open_sqlite(url, timeout_ms))
        case "postgresql":
            return KeyDatabase(_open_postgresql(url, timeout_ms))
        case other:
            raise KeyStoreUnusable(
                f"the key store cannot live in {other}: give KEY_STORE_URL a sqlite:/// or "
                "postgresql:// address"
            )


def _open_sqlite(url: URL, timeout_ms: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise KeyStoreUnusable("the key store needs a file: processes share it by sqlite:///PATH")
    path = Path(url.database).absolute()
    # Deferred to the first statement, an unwritable folder would look like an absent store.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Without mode=rw, a file that went away later would be replaced by an empty one.
    address = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            address,
            uri=True,
            timeout=timeout_ms / 1000,
            check_same_thread=False,
            isolation_level=None,
        )

    # The driver's own transaction handling would begin too late and never immediately, hence
    # no isolation level above and the explicit BEGIN below.
    engine = sa.create_engine(url, creator=connect)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        _write_ahead(connection, time.monotonic() + timeout_ms / 1000)
        for pragma in ("synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred transaction that turns into a writer fails at once when another one wrote.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: Any, give_up_at: float) -> None:
    """Turns the write-ahead log on.

    SQLite waits for locks, but not here: while another process makes the tables of a fresh store,
    it fails at once.
    """
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # The code has more in its upper bits: what it was busy with.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > give_up_at:
                raise
            time.sleep(_BUSY_S)


def _open_postgresql(url: URL, timeout_ms: int) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    seconds = max(1, timeout_ms // 1000)
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=seconds,
            connect_args={
                "connect_timeout": seconds,
                "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}",
            },
        )
    except ModuleNotFoundError:
        raise KeyStoreUnusable(
            'a key store in PostgreSQL needs its driver: pip install "psycopg[binary]"'
        ) from None
