"""What a process remembers: enough to go on without the store, and never too much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.keys import KeyErased, KeyStoreUnavailable, open_key_store
from infra.keys.keyring import Keyring, Recent
from infra.keys.store import Erasure
from infra.settings import Settings
from infra.settings.connections import KeySettings

TENANT, MONTH = "bank", "2026-11"


@pytest.fixture
def keys(tmp_path: Path) -> KeySettings:
    return Settings(data_dir=tmp_path, keys={"timeout_ms": 500}).keys


@pytest.fixture
def ring(keys: KeySettings) -> Iterator[Keyring]:
    # Erasures are followed by hand here, so that nothing depends on a clock.
    opened = Keyring(open_key_store(keys), size=3, revalidate_ms=3_600_000)
    yield opened
    opened.close()


def take_away(ring: Keyring, keys: KeySettings) -> Path:
    """Moves the database file where nobody finds it; returns where it was."""
    ring.store.close()
    path = Path(keys.url.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    return path


def until(holds: Callable[[], bool]) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    held: Recent[str, int] = Recent(2)
    held.put("a", 1)
    held.put("b", 2)
    assert held.get("a") == 1
    held.put("c", 3)
    assert held.get("b") is None
    assert (held.get("a"), held.get("c"), len(held)) == (1, 3, 2)


def test_known_people_and_keys_survive_a_store_that_is_away(
    ring: Keyring, keys: KeySettings
) -> None:
    alice = ring.identity(TENANT, "alice", MONTH)
    version, cipher = ring.current(TENANT, alice.subject, MONTH)
    path = take_away(ring, keys)
    assert ring.identity(TENANT, "alice", MONTH) == alice
    assert ring.current(TENANT, alice.subject, MONTH) == (version, cipher)
    assert ring.cipher(TENANT, alice.subject, version) is cipher
    with pytest.raises(KeyStoreUnavailable):
        ring.identity(TENANT, "bob")
    with pytest.raises(KeyStoreUnavailable):
        ring.current(TENANT, alice.subject, "2026-12")
    with pytest.raises(KeyStoreUnavailable):
        ring.refresh()
    assert not path.exists(), "an absent store must not be replaced by an empty one"
    path.with_suffix(".away").rename(path)
    assert ring.identity(TENANT, "bob").subject != alice.subject


def test_an_erasure_elsewhere_is_forgotten_here_at_the_next_look(
    ring: Keyring, keys: KeySettings
) -> None:
    alice, bob = (ring.identity(TENANT, sub, MONTH).subject for sub in ("alice", "bob"))
    ring.cipher(TENANT, alice, f"{MONTH}/1")
    elsewhere = open_key_store(keys)
    elsewhere.erase_subject(TENANT, alice)
    elsewhere.close()
    assert ring.current_known(TENANT, alice, MONTH)
    ring.refresh()
    assert not ring.current_known(TENANT, alice, MONTH)
    assert not ring.cipher_known(TENANT, alice, f"{MONTH}/1")
    assert ring.known_identity(TENANT, "alice") is None
    assert ring.current_known(TENANT, bob, MONTH)
    with pytest.raises(KeyErased):
        ring.cipher(TENANT, alice, f"{MONTH}/1")


def test_expired_months_are_forgotten_and_later_ones_kept(ring: Keyring) -> None:
    alice = ring.identity(TENANT, "alice").subject
    for month in ("2026-09", "2026-10"):
        ring.current(TENANT, alice, month)
    assert ring.expire_months(TENANT, "2026-10") == 1
    assert not ring.current_known(TENANT, alice, "2026-09")
    assert not ring.cipher_known(TENANT, alice, "2026-09/1")
    assert ring.current_known(TENANT, alice, "2026-10")


def test_erased_keys_are_asked_for_once(ring: Keyring, keys: KeySettings) -> None:
    alice = ring.identity(TENANT, "alice", MONTH).subject
    ring.erase_subject(TENANT, alice)
    for _ in range(2):
        with pytest.raises(KeyErased):
            ring.cipher(TENANT, alice, f"{MONTH}/1")
        with pytest.raises(KeyErased):
            ring.current(TENANT, alice, MONTH)
    take_away(ring, keys)
    with pytest.raises(KeyErased):
        ring.cipher(TENANT, alice, f"{MONTH}/1")
    with pytest.raises(KeyErased):
        ring.current(TENANT, alice, MONTH)


def test_threads_that_meet_a_person_at_once_agree(ring: Keyring) -> None:
    with ThreadPoolExecutor(8) as pool:
        met = list(pool.map(lambda _: ring.identity(TENANT, "alice", MONTH), range(16)))
    assert len(set(met)) == 1


def test_a_key_read_before_an_erasure_is_not_remembered_after_it(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = ring.identity(TENANT, "alice").subject
    ring.store.current_key(TENANT, alice, MONTH)
    read = ring.store.key

    def read_then_erase(tenant_id: str, subject: str, key_version: str) -> object:
        key = read(tenant_id, subject, key_version)
        ring.erase_subject(tenant_id, subject)
        return key

    monkeypatch.setattr(ring.store, "key", read_then_erase)
    ring.cipher(TENANT, alice, f"{MONTH}/1")
    assert not ring.cipher_known(TENANT, alice, f"{MONTH}/1")


def test_erasures_are_heard_of_after_an_error_that_nobody_expects(
    keys: KeySettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_key_store(keys)
    ask, asked = store.erasures_since, []

    def asks(generation: int) -> list[Erasure]:
        asked.append(generation)
        if len(asked) == 1:
            raise sa.exc.ProgrammingError(
                "SELECT", {"subject": "alice"}, Exception("no such table")
            )
        return ask(generation)

    monkeypatch.setattr(store, "erasures_since", asks)
    followed = Keyring(store, size=3, revalidate_ms=20)
    alice = followed.identity(TENANT, "alice", MONTH).subject
    until(lambda: len(asked) > 1)
    elsewhere = open_key_store(keys)
    elsewhere.erase_subject(TENANT, alice)
    until(lambda: not followed.current_known(TENANT, alice, MONTH))
    followed.close()
    elsewhere.close()
    assert "ProgrammingError" in caplog.text
    assert "alice" not in caplog.text
