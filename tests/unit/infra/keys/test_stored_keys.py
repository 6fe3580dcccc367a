"""Files of the key store: who can read them, and what is left in them after an erasure."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.keys import KeyStoreUnusable, open_key_store, read_or_create_secret
from infra.keys.database import open_database
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


def test_an_erased_key_is_gone_from_the_files_wrapped_as_it_was(tmp_path: Path) -> None:
    keys = Settings(data_dir=tmp_path).keys
    store = open_key_store(keys)
    subject = store.contact("bank", "alice", "2026-11")[0].subject
    bystander = open_key_store(keys)
    database = open_database(keys.url, 500)
    with database.transaction() as connection:
        wrapped = [
            connection.execute(sa.select(DATA_KEYS.c.wrapped).filter_by(subject=subject)).scalar(),
            connection.execute(sa.select(SUBJECTS.c.hmac_key).filter_by(subject=subject)).scalar(),
        ]

    def on_disk(key: bytes) -> bool:
        return any(key in path.read_bytes() for path in tmp_path.glob("keys.db*"))

    assert [on_disk(key) for key in wrapped] == [True, True]
    store.erase_subject("bank", subject)
    assert [on_disk(key) for key in wrapped] == [False, False]
    for opened in (store, bystander, database):
        opened.close()


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
