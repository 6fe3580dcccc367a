"""A fresh SQLite store while another process is making it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from infra.keys.database import open_database
from infra.keys.errors import KeyStoreUnavailable

TIMEOUT_MS = 5_000


@pytest.fixture
def maker(tmp_path: Path) -> sqlite3.Connection:
    """Whoever was first: in the middle of a write, and not yet with a write-ahead log."""
    first = sqlite3.connect(tmp_path / "keys.db", isolation_level=None, check_same_thread=False)
    first.execute("BEGIN IMMEDIATE")
    first.execute("CREATE TABLE t (x)")
    return first


def test_a_store_that_is_being_made_is_waited_for(
    tmp_path: Path, maker: sqlite3.Connection
) -> None:
    release = threading.Timer(0.3, maker.execute, ["COMMIT"])
    release.start()
    database = open_database(f"sqlite:///{tmp_path / 'keys.db'}", TIMEOUT_MS)
    database.prepare(b"platform")
    release.join()
    maker.close()
    database.close()


def test_waiting_for_it_ends(tmp_path: Path, maker: sqlite3.Connection) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'keys.db'}", 100)
    with pytest.raises(KeyStoreUnavailable, match="locked"):
        database.prepare(b"platform")
    maker.close()
    database.close()
