"""The tables of the key store and how its two databases are opened.

SQLite (embedded) runs with a write-ahead log, full synchronisation and overwriting of deleted
content; PostgreSQL is reached by URL.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from infra.keys.errors import KeyStoreUnusable

STORE_VERSION = 1

METADATA = sa.MetaData()

STORE = sa.Table(
    "key_store",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
)
"""One row. `generation` counts erasures; who erases holds its lock, so numbers commit in order."""

SUBJECTS = sa.Table(
    "subjects",
    METADATA,
    sa.Column("tenant_id", sa.String(63), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("lookup", sa.LargeBinary(32), nullable=False),
    sa.Column("hmac_key", sa.LargeBinary, nullable=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("erased_at", sa.BigInteger, nullable=True),
    sa.UniqueConstraint("tenant_id", "lookup"),
)
"""One row per person and tenant; a row with `erased_at` (seconds since 1970) is a tombstone."""

DATA_KEYS = sa.Table(
    "data_keys",
    METADATA,
    sa.Column("tenant_id", sa.String(63), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Index("data_keys_by_month", "tenant_id", "month"),
)
"""Wrapped data keys. The platform's own key has no tenant and no month."""

ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.String(63), nullable=False),
    sa.Column("subject", sa.String(64), nullable=True),
    sa.Column("before_month", sa.String(7), nullable=True),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
    sa.Index("erasures_by_tenant", "tenant_id", "before_month"),
)
"""What was erased, in order: a subject, or all months of a tenant before one."""


def open_engine(address: str, timeout_ms: int) -> sa.Engine:
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
            return _open_sqlite(url, timeout_ms)
        case "postgresql":
            return _open_postgresql(url, timeout_ms)
        case other:
            raise KeyStoreUnusable(
                f"the key store cannot live in {other}: give KEY_STORE_URL a sqlite:/// or "
                "postgresql:// address"
            )


def _open_sqlite(url: URL, timeout_ms: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise KeyStoreUnusable("the key store needs a file: processes share it by sqlite:///PATH")
    path = Path(url.database)
    # Deferred to the first statement, an unwritable folder would look like an absent store.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(url, connect_args={"timeout": timeout_ms / 1000})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would begin too late and never immediately.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred transaction that turns into a writer fails at once when another one wrote.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


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
