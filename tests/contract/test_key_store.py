"""What every key store promises, on SQLite and on PostgreSQL.

PostgreSQL is one of the tests' own, or the one that PARLEY_TEST_POSTGRES_URL names: a database
that may be emptied.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_process import missing, running_postgres

from infra.keys import (
    KeyErased,
    KeyMissing,
    KeyStore,
    KeyStoreUnavailable,
    KeyStoreUnusable,
    Sealer,
    open_key_store,
    open_sealer,
)
from infra.keys.database import open_database
from infra.keys.tables import DATA_KEYS, METADATA, STORE
from infra.settings.connections import KeySettings

TENANT, MONTH = "bank", "2026-11"
GIVEN_URL = os.environ.get("PARLEY_TEST_POSTGRES_URL", "")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if GIVEN_URL:
        yield GIVEN_URL
        return
    if why := missing():
        pytest.skip(why)
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> KeySettings:
    """Settings of a store that does not exist yet."""
    is_file = request.param == "sqlite"
    url = (
        f"sqlite:///{tmp_path / 'keys.db'}" if is_file else request.getfixturevalue("postgres_url")
    )
    settings = KeySettings(
        url=url, master_key_file=tmp_path / "master.key", revalidate_ms=200, timeout_ms=5000
    )
    if request.param == "postgresql":
        database = open_database(url, 5000)
        with database.transaction(writes=True) as connection:
            METADATA.drop_all(connection)
        database.close()
    return settings


@pytest.fixture
def store(keys: KeySettings) -> Iterator[KeyStore]:
    opened = open_key_store(keys)
    yield opened
    opened.close()


@pytest.fixture
def sealer(keys: KeySettings) -> Iterator[Sealer]:
    opened = open_sealer(keys)
    yield opened
    opened.close()


def new_identity(store: KeyStore, sub: str = "alice") -> str:
    return store.contact(TENANT, sub)[0].subject


def rows(keys: KeySettings, table: sa.Table) -> list[sa.Row[tuple[object, ...]]]:
    database = open_database(keys.url, 5000)
    with database.transaction() as connection:
        found = list(connection.execute(sa.select(table)).all())
    database.close()
    return found


def test_a_person_keeps_the_pseudonym_and_keys_of_the_first_contact(keys: KeySettings) -> None:
    first = open_key_store(keys)
    identity, key = first.contact(TENANT, "alice", MONTH)
    first.close()
    second = open_key_store(keys)
    assert second.contact(TENANT, "alice", MONTH) == (identity, key)
    assert second.current_key(TENANT, identity.subject, MONTH) == key
    second.close()


def test_the_same_sub_in_two_tenants_is_two_people(store: KeyStore) -> None:
    here, there = store.contact("bank", "alice")[0], store.contact("shop", "alice")[0]
    assert here.subject != there.subject
    assert here.hmac_key != there.hmac_key


def test_each_month_of_each_person_has_a_key_of_its_own(store: KeyStore) -> None:
    alice, bob = new_identity(store, "alice"), new_identity(store, "bob")
    made = [
        store.current_key(TENANT, who, month)
        for who in (alice, bob)
        for month in ("2026-10", MONTH)
    ]
    assert len({each.key for each in made}) == 4
    assert {len(each.key) for each in made} == {32}


def test_neither_sub_nor_any_key_is_stored_in_the_clear(keys: KeySettings, store: KeyStore) -> None:
    sub = "alice.smith@example.org"
    identity, key = store.contact(TENANT, sub, MONTH)
    assert key is not None
    stored = repr([rows(keys, table) for table in METADATA.sorted_tables]).encode()
    raw = b"".join(
        bytes(value)
        for table in METADATA.sorted_tables
        for row in rows(keys, table)
        for value in row
        if isinstance(value, bytes | memoryview)
    )
    assert identity.subject.encode() in stored
    assert sub.encode() not in stored
    assert key.key not in raw
    assert identity.hmac_key not in raw


FIRST_CONTACT = """
import sys, time
from pathlib import Path
from infra.keys import open_key_store
from infra.settings.connections import KeySettings
url, master, start = sys.argv[1:]
print("ready", flush=True)
while not Path(start).exists():
    time.sleep(0.001)
store = open_key_store(KeySettings(url=url, master_key_file=master, timeout_ms=20000))
for number in range(20):
    identity, key = store.contact("bank", f"person-{number}", "2026-11")
    print(identity.subject, identity.hmac_key.hex(), key.key_version, key.key.hex())
"""


def test_processes_that_meet_a_person_at_once_agree_on_pseudonym_and_keys(
    keys: KeySettings, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    arguments = [
        sys.executable,
        "-c",
        FIRST_CONTACT,
        keys.url,
        str(keys.master_key_file),
        str(start),
    ]
    racers = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    start.touch()
    ended = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4, ended
    assert len({output for output, _ in ended}) == 1
    assert len(ended[0][0].splitlines()) == 20


NEW_MONTHS = """
import sys
from infra.keys import KeyErased, open_key_store
from infra.settings.connections import KeySettings
url, master, subject = sys.argv[1:]
store = open_key_store(KeySettings(url=url, master_key_file=master, timeout_ms=20000))
made = 0
try:
    for year in range(2000, 9999):
        for month in range(1, 13):
            store.current_key("bank", subject, f"{year}-{month:02}")
            made += 1
            if made == 5:
                print("under way", flush=True)
except KeyErased:
    print(made, flush=True)
"""


def test_erasing_wins_over_processes_that_make_keys_at_the_same_time(
    keys: KeySettings, store: KeyStore
) -> None:
    subject, bob = new_identity(store), new_identity(store, "bob")
    store.current_key(TENANT, bob, MONTH)
    arguments = [sys.executable, "-c", NEW_MONTHS, keys.url, str(keys.master_key_file), subject]
    makers = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "under way\n"
    assert store.erase_subject(TENANT, subject)
    for maker in makers:
        output, _ = maker.communicate(timeout=60)
        assert int(output) >= 5
    left = [(row.tenant_id, row.subject) for row in rows(keys, DATA_KEYS)]
    assert (TENANT, subject) not in left
    assert (TENANT, bob) in left


def test_an_erased_person_has_no_keys_and_never_gets_new_ones(store: KeyStore) -> None:
    identity, key = store.contact(TENANT, "alice", MONTH)
    assert key is not None
    assert store.erase_subject(TENANT, identity.subject) is True
    assert store.erase_subject(TENANT, identity.subject) is False
    with pytest.raises(KeyErased):
        store.key(TENANT, identity.subject, key.key_version)
    with pytest.raises(KeyErased):
        store.current_key(TENANT, identity.subject, "2027-01")
    with pytest.raises(KeyErased):
        store.contact(TENANT, "alice", MONTH)


def test_erasing_somebody_unknown_is_an_error_and_not_a_success(store: KeyStore) -> None:
    with pytest.raises(KeyMissing, match="nothing is erased"):
        store.erase_subject(TENANT, "nobody")


def test_expired_months_lose_their_keys_for_ever_and_only_in_their_tenant(store: KeyStore) -> None:
    alice = new_identity(store)
    other = store.contact("shop", "alice")[0].subject
    for month in ("2026-08", "2026-09", "2026-10"):
        store.current_key(TENANT, alice, month)
        store.current_key("shop", other, month)
    assert store.expire_months(TENANT, "2026-10") == 2
    for month in ("2026-08", "2026-09", "2026-01"):
        with pytest.raises(KeyErased, match="expired"):
            store.key(TENANT, alice, f"{month}/1")
        with pytest.raises(KeyErased, match="expired"):
            store.current_key(TENANT, alice, month)
    assert store.key(TENANT, alice, "2026-10/1")
    assert store.key("shop", other, "2026-08/1")


def test_many_keys_come_at_once_and_only_those_asked_for(store: KeyStore) -> None:
    people = [new_identity(store, f"person-{number}") for number in range(3)]
    for who in people:
        for month in ("2026-10", MONTH):
            store.current_key(TENANT, who, month)
    wanted = [(people[0], "2026-10/1"), (people[1], f"{MONTH}/1"), (people[2], f"{MONTH}/2")]
    found = store.keys(TENANT, wanted)
    assert found == {
        people[0]: [store.key(TENANT, people[0], "2026-10/1")],
        people[1]: [store.key(TENANT, people[1], f"{MONTH}/1")],
    }
    assert store.keys("shop", wanted) == {}
    assert store.keys(TENANT, []) == {}


@pytest.mark.parametrize(
    "foreign", [("a\0", f"{MONTH}/1"), ("é", f"{MONTH}/1"), ("a", "\0/1"), ("a", f"{MONTH}/x")]
)
def test_names_that_no_key_can_have_are_missing_and_keep_nobody_from_the_others(
    store: KeyStore, foreign: tuple[str, str]
) -> None:
    identity, key = store.contact(TENANT, "alice", MONTH)
    assert key is not None
    wanted = [foreign, (identity.subject, key.key_version)]
    assert store.keys(TENANT, wanted) == {identity.subject: [key]}
    with pytest.raises(KeyMissing):
        store.key(TENANT, *foreign)


def test_the_platforms_own_key_never_expires(keys: KeySettings, store: KeyStore) -> None:
    with pytest.raises(ValueError, match="platform"):
        store.expire_months("", "9999-12")
    again = open_key_store(keys)
    assert again.dead_letter_key == store.dead_letter_key
    again.close()


@pytest.mark.parametrize(
    "key_version", ["", "2026-11", "2026-13/1", "2026-11/x", "2026-11/99999999999"]
)
def test_a_malformed_or_unheard_of_key_version_is_missing_and_not_erased(
    store: KeyStore, key_version: str
) -> None:
    subject = new_identity(store)
    with pytest.raises(KeyMissing):
        store.key(TENANT, subject, key_version)
    with pytest.raises(KeyMissing, match="another store"):
        store.key(TENANT, subject, "2026-11/7")


@pytest.mark.parametrize("month", ["", "2026", "2026-00", "2026-13", "26-11", "2026-11-01"])
def test_a_key_is_only_made_for_a_real_month(store: KeyStore, month: str) -> None:
    subject = new_identity(store)
    with pytest.raises(ValueError, match="YYYY-MM"):
        store.current_key(TENANT, subject, month)


def test_another_master_key_opens_nothing(keys: KeySettings, store: KeyStore) -> None:
    foreign = keys.model_copy(update={"master_key_file": Path(str(keys.master_key_file) + "2")})
    with pytest.raises(KeyStoreUnusable, match="another master key"):
        open_key_store(foreign)


def test_a_store_of_a_newer_version_is_left_alone(keys: KeySettings, store: KeyStore) -> None:
    database = open_database(keys.url, 5000)
    with database.transaction(writes=True) as connection:
        connection.execute(sa.update(STORE).values(version=99))
    database.close()
    with pytest.raises(KeyStoreUnusable, match="version 99"):
        open_key_store(keys)


def test_other_processes_forget_an_erased_key_within_the_bound(
    keys: KeySettings, sealer: Sealer
) -> None:
    elsewhere = open_sealer(keys)
    subject = sealer.identify(TENANT, "alice").subject
    place = {"tenant_id": TENANT, "conversation_id": "c1"}
    sealed = elsewhere.seal(
        "hello", subject=subject, origin_id="o", field="text", month=MONTH, **place
    )
    assert elsewhere.open(sealed, **place) == "hello"
    sealer.erase_subject(TENANT, subject)
    with pytest.raises(KeyErased):
        sealer.open(sealed, **place)
    deadline = time.monotonic() + 5
    while elsewhere.is_cached(TENANT, subject, MONTH) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(KeyErased):
        elsewhere.open(sealed, **place)
    with pytest.raises(KeyErased):
        elsewhere.seal("again", subject=subject, origin_id="o", field="text", month=MONTH, **place)
    elsewhere.close()


def test_a_store_that_stands_still_stops_new_people_only(keys: KeySettings) -> None:
    sealer = open_sealer(keys.model_copy(update={"timeout_ms": 300}))
    place = {"tenant_id": TENANT, "conversation_id": "c1"}
    subject = sealer.identify(TENANT, "alice", MONTH).subject
    blocker = open_database(keys.url, 5000)
    with blocker.transaction(writes=True) as connection:
        # An open write transaction holds SQLite's only lock, and here PostgreSQL's row lock.
        connection.execute(sa.select(STORE.c.generation).with_for_update())
        sealed = sealer.seal(
            "hello", subject=subject, origin_id="o", field="text", month=MONTH, **place
        )
        assert sealer.open(sealed, **place) == "hello"
        assert sealer.identify(TENANT, "alice").subject == subject
        with pytest.raises(KeyStoreUnavailable, match="does not answer"):
            sealer.identify(TENANT, "bob", MONTH)
        with pytest.raises(KeyStoreUnavailable):
            sealer.seal("x", subject=subject, origin_id="o", field="text", month="2026-12", **place)
    assert sealer.identify(TENANT, "bob", MONTH)
    blocker.close()
    sealer.close()


def test_an_error_of_the_store_shows_no_password() -> None:
    keys = KeySettings(
        url="postgresql://parley:hunter2@127.0.0.1:1/keys", master_key="00" * 32, timeout_ms=1000
    )
    with pytest.raises((KeyStoreUnavailable, KeyStoreUnusable)) as caught:
        open_key_store(keys)
    assert "hunter2" not in str(caught.value)
