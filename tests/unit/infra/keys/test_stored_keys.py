"""Files of the key store: who can read them, and what is left in them after an erasure."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.keys import KeyStoreUnusable, open_key_store, read_or_create_secret
from infra.keys.database import open_database
from infra.keys.keyring import Keyring
from infra.keys.secret_file import parse_secret
from infra.keys.tables import DATA_KEYS, SUBJECTS
from infra.keys.wrapping import MasterKey, netstrings
from infra.settings import Settings
from infra.settings.connections import KeySettings


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "secret"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: read_or_create_secret(path), range(16)))
    assert len(made) == 1
    assert len(made.pop()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_secret_may_be_hex_or_base64() -> None:
    assert parse_secret("ab" * 32 + "\n", "x") == b"\xab" * 32
    assert parse_secret("+/" * 21 + "8=", "x") == parse_secret("-_" * 21 + "8", "x")


@pytest.mark.parametrize("written", ["", "short", "zz" * 32, "a" * 65, "é" * 32])
def test_anything_else_is_refused_without_showing_it(tmp_path: Path, written: str) -> None:
    path = tmp_path / "secret"
    path.write_text(written)
    with pytest.raises(KeyStoreUnusable) as caught:
        read_or_create_secret(path)
    assert str(path) in str(caught.value)
    assert not written or written not in str(caught.value)


def test_store_and_master_key_are_private_files(tmp_path: Path) -> None:
    keys = Settings(data_dir=tmp_path).keys
    open_key_store(keys).close()
    for name in ("keys.db", "master.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def wrapped_keys(keys: KeySettings, subject: str) -> list[bytes]:
    """The keys of a subject as they are stored."""
    with closing(open_database(keys.url, 500)) as database, database.transaction() as connection:
        return [
            connection.execute(sa.select(column).filter_by(subject=subject)).scalar_one()
            for column in (DATA_KEYS.c.wrapped, SUBJECTS.c.hmac_key)
        ]


def on_disk(folder: Path, wrapped: list[bytes]) -> list[bool]:
    """Of each key whether a file of the store holds it."""
    files = [path.read_bytes() for path in folder.glob("keys.db*")]
    return [any(key in file for file in files) for key in wrapped]


def test_an_erased_key_is_gone_from_the_files_wrapped_as_it_was(tmp_path: Path) -> None:
    keys = Settings(data_dir=tmp_path).keys
    store = open_key_store(keys)
    subject = store.contact("bank", "alice", "2026-11")[0].subject
    bystander = open_key_store(keys)
    wrapped = wrapped_keys(keys, subject)
    assert on_disk(tmp_path, wrapped) == [True, True]
    store.erase_subject("bank", subject)
    assert on_disk(tmp_path, wrapped) == [False, False]
    for opened in (store, bystander):
        opened.close()


@contextmanager
def long_read(keys: KeySettings) -> Iterator[sqlite3.Connection]:
    """A process that stays inside one transaction."""
    with closing(sqlite3.connect(keys.url.removeprefix("sqlite:///"))) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM data_keys").fetchone()
        yield connection


def erased_meanwhile(keys: KeySettings, subject: str) -> None:
    """What a process does that erases and ends."""
    store = open_key_store(keys)
    store.erase_subject("bank", subject)
    store.close()


def follow_by_hand(keys: KeySettings) -> Keyring:
    return Keyring(open_key_store(keys), size=10, revalidate_ms=3_600_000)


def test_a_key_that_a_long_read_keeps_is_gone_after_it_and_until_then_there_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Settings(data_dir=tmp_path).keys
    ring = follow_by_hand(keys)
    subject = ring.identity("bank", "alice", "2026-11").subject
    wrapped = wrapped_keys(keys, subject)
    with long_read(keys) as reader:
        erased_meanwhile(keys, subject)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "may still hold erased keys" in caplog.text
        ring.refresh()
        assert on_disk(tmp_path, wrapped) == [True, True]
        reader.rollback()
        ring.refresh()
        assert on_disk(tmp_path, wrapped) == [False, False]
    ring.close()


def test_a_process_that_begins_after_the_erasure_takes_the_key_out_of_the_files_as_well(
    tmp_path: Path,
) -> None:
    keys = Settings(data_dir=tmp_path).keys
    with closing(open_key_store(keys)) as store:
        subject = store.contact("bank", "alice", "2026-11")[0].subject
    wrapped = wrapped_keys(keys, subject)
    with long_read(keys) as reader:
        erased_meanwhile(keys, subject)
        assert any(on_disk(tmp_path, wrapped))
        ring = follow_by_hand(keys)
        reader.rollback()
        ring.refresh()
        assert on_disk(tmp_path, wrapped) == [False, False]
    ring.close()


def test_a_long_read_keeps_nobody_from_the_store_while_a_key_is_erased(tmp_path: Path) -> None:
    keys = Settings(data_dir=tmp_path, keys={"timeout_ms": 20_000}).keys
    with closing(follow_by_hand(keys)) as ring:
        subject = ring.identity("bank", "alice", "2026-11").subject
        with long_read(keys):
            began = time.monotonic()
            ring.erase_subject("bank", subject)
            ring.identity("bank", "bob", "2026-11")
            assert time.monotonic() - began < 10


def test_a_wrapped_key_opens_in_its_own_place_only() -> None:
    master = MasterKey(b"\1" * 32)
    wrapped = master.wrap(b"\2" * 32, "bank", "alice", "2026-11/1")
    assert master.unwrap(wrapped, "bank", "alice", "2026-11/1") == b"\2" * 32
    for place in (("bank", "bob", "2026-11/1"), ("bank", "alice", "2026-12/1"), ("bank", "alice")):
        with pytest.raises(KeyStoreUnusable):
            master.unwrap(wrapped, *place)


def test_netstrings_of_different_lists_differ() -> None:
    assert netstrings(("ab", "c")) != netstrings(("a", "bc"))
    assert netstrings(("a,1:b",)) != netstrings(("a", "b"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://localhost/keys", "cannot live in mysql"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("no address", "not a SQLAlchemy address"),
    ],
)
def test_an_unusable_address_is_refused_in_a_sentence(url: str, problem: str) -> None:
    with pytest.raises(KeyStoreUnusable, match=problem):
        open_key_store(KeySettings(url=url, master_key="00" * 32))


def test_a_master_key_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(KeyStoreUnusable, match=r"keys\.master_key_file"):
        open_key_store(
            KeySettings(url=f"sqlite:///{tmp_path}/k.db", master_key_file=in_the_way / "m")
        )
