"""The key store: subjects with their pseudonyms, monthly data keys, and what was erased.

Every call is one short transaction and touches the database; `keyring` keeps what was read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from infra.keys.database import KeyDatabase, open_database
from infra.keys.errors import KeyErased, KeyMissing
from infra.keys.tables import DATA_KEYS, ERASURES, STORE, SUBJECTS
from infra.keys.wrapping import KEY_BYTES, MasterKey, derive, master_key, netstrings
from infra.settings.connections import KeySettings

_SUBJECTS_PER_QUERY = 500
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Identity:
    """A person within a tenant. `hmac_key` (32 bytes) authenticates the bodies they send."""

    subject: str
    hmac_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key (32 bytes); `key_version` is month and version, such as `2026-11/1`."""

    key_version: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A subject, or all months of a tenant before `before_month`, that lost their keys."""

    generation: int
    tenant_id: str
    subject: str | None
    before_month: str | None


def open_key_store(settings: KeySettings) -> KeyStore:
    """Opens the store and makes its tables if need be.

    Raises `KeyStoreUnavailable` when the database does not answer within the timeout, and
    `KeyStoreUnusable` when it is of a newer version or under another master key.
    """
    return KeyStore(open_database(settings.url, settings.timeout_ms), master_key(settings))


class KeyStore:
    """See the module. Safe to use from several threads and processes."""

    def __init__(self, database: KeyDatabase, master: MasterKey) -> None:
        self._database = database
        self._master = master
        new = master.wrap(secrets.token_bytes(KEY_BYTES), "", "platform", "platform")
        platform = master.unwrap(database.prepare(new), "", "platform", "platform")
        self._lookup_key = derive(platform, "lookup of subjects")
        self.dead_letter_key = derive(platform, "dead letters")

    def __repr__(self) -> str:
        return f"KeyStore({self._database!r})"

    def close(self) -> None:
        """Gives back all connections."""
        self._database.close()

    # People and their keys

    def contact(
        self, tenant_id: str, sub: str, month: str | None = None
    ) -> tuple[Identity, DataKey | None]:
        """The identity behind a token's `sub`, made at first contact.

        With a month, the data key of that month comes from the same transaction. Raises
        `KeyErased` for a person who was erased or a month that has expired.
        """
        lookup = self._lookup(tenant_id, sub)
        with self._database.transaction() as connection:
            found = self._identity(connection, tenant_id, lookup)
            if found and month is None:
                return found, None
            if found and month:
                key = self._newest_key(connection, tenant_id, found.subject, month)
                if key is not None:
                    return found, key
        with self._database.transaction(writes=True) as connection:
            self._hold_erasures(connection)
            if self._identity(connection, tenant_id, lookup) is None:
                self._new_subject(connection, tenant_id, lookup)
            # Read back, since another process may have been faster.
            found = self._identity(connection, tenant_id, lookup)
            if found is None:
                raise KeyMissing(f"a new subject of tenant {tenant_id} cannot be read back")
            if month is None:
                return found, None
            return found, self._get_or_create(connection, tenant_id, found.subject, month)

    def current_key(self, tenant_id: str, subject: str, month: str) -> DataKey:
        """The newest data key of a subject and month, made if there is none.

        Raises `KeyErased` when the subject was erased or the month has expired, `KeyMissing`
        when this store does not know the subject.
        """
        with self._database.transaction() as connection:
            if found := self._newest_key(connection, tenant_id, subject, month):
                return found
        with self._database.transaction(writes=True) as connection:
            self._hold_erasures(connection)
            return self._get_or_create(connection, tenant_id, subject, month)

    def key(self, tenant_id: str, subject: str, key_version: str) -> DataKey:
        """An existing data key, never a new one.

        Raises `KeyErased` when the key is gone for ever, `KeyMissing` when it never was here.
        """
        if not _can_be_ours(tenant_id, subject, key_version):
            raise KeyMissing("no key store gives a key of that name: a version is YYYY-MM/N")
        month, _, version = key_version.partition("/")
        with self._database.transaction() as connection:
            wrapped = connection.execute(
                sa.select(DATA_KEYS.c.wrapped).where(
                    *_of(DATA_KEYS, tenant_id, subject),
                    DATA_KEYS.c.month == month,
                    DATA_KEYS.c.version == int(version),
                )
            ).scalar()
            if wrapped is not None:
                return self._data_key(tenant_id, subject, month, int(version), wrapped)
            self._refuse_erased(connection, tenant_id, subject, month)
        raise KeyMissing(
            f"the key store has no key {key_version} of {subject} and never erased it: it is "
            "another store than the one that sealed, or was restored from before that"
        )

    def keys(self, tenant_id: str, wanted: Collection[tuple[str, str]]) -> dict[str, list[DataKey]]:
        """Those of the wanted keys (subject and key version) that exist, by subject.

        One query for hundreds of keys, for replays; says nothing about why one is missing.
        """
        found: dict[str, list[DataKey]] = {}
        chosen = {name for name in wanted if _can_be_ours(tenant_id, *name)}
        months = {version.partition("/")[0] for _, version in chosen}
        subjects = sorted({subject for subject, _ in chosen})
        for start in range(0, len(subjects), _SUBJECTS_PER_QUERY):
            query = sa.select(
                DATA_KEYS.c.subject, DATA_KEYS.c.month, DATA_KEYS.c.version, DATA_KEYS.c.wrapped
            ).where(
                DATA_KEYS.c.tenant_id == tenant_id,
                DATA_KEYS.c.subject.in_(subjects[start : start + _SUBJECTS_PER_QUERY]),
                DATA_KEYS.c.month.in_(months),
            )
            with self._database.transaction() as connection:
                rows = connection.execute(query).all()
            for subject, month, version, wrapped in rows:
                if (subject, f"{month}/{version}") in chosen:
                    key = self._data_key(tenant_id, subject, month, version, wrapped)
                    found.setdefault(subject, []).append(key)
        return found

    # Erasing

    def erase_subject(self, tenant_id: str, subject: str) -> bool:
        """Deletes all keys of a subject and leaves a tombstone; False if it was done before.

        Raises `KeyMissing` for a subject that this store does not know.
        """
        with self._database.transaction(writes=True) as connection:
            generation = self._next_generation(connection)
            row = connection.execute(
                sa.select(SUBJECTS.c.erased_at).where(*_of(SUBJECTS, tenant_id, subject))
            ).one_or_none()
            if row is None:
                raise KeyMissing(f"tenant {tenant_id} has no subject {subject}: nothing is erased")
            if row.erased_at is not None:
                return False
            connection.execute(sa.delete(DATA_KEYS).where(*_of(DATA_KEYS, tenant_id, subject)))
            connection.execute(
                sa.update(SUBJECTS)
                .where(*_of(SUBJECTS, tenant_id, subject))
                .values(hmac_key=None, erased_at=int(time.time()))
            )
            self._note(connection, Erasure(generation, tenant_id, subject, None))
        self._database.overwrite_deleted()
        return True

    def expire_months(self, tenant_id: str, before_month: str) -> int:
        """Deletes the data keys of all months before one (`YYYY-MM`); returns how many."""
        _check_month(before_month)
        if not tenant_id:
            raise ValueError("the platform's own key has no month and never expires")
        with self._database.transaction(writes=True) as connection:
            generation = self._next_generation(connection)
            deleted = connection.execute(
                sa.delete(DATA_KEYS).where(
                    DATA_KEYS.c.tenant_id == tenant_id, DATA_KEYS.c.month < before_month
                )
            ).rowcount
            self._note(connection, Erasure(generation, tenant_id, None, before_month))
        self._database.overwrite_deleted()
        return int(deleted)

    def overwrite_deleted(self) -> bool:
        """Takes erased keys out of the database's files; False if somebody holds that up.

        Erasing and expiring do so as well, so this is for what they could not finish.
        """
        return self._database.overwrite_deleted()

    def generation(self) -> int:
        """The number of the newest erasure; 0 before the first."""
        with self._database.transaction() as connection:
            return int(connection.execute(sa.select(STORE.c.generation)).scalar_one())

    def erasures_since(self, generation: int, limit: int = 10_000) -> list[Erasure]:
        """The erasures after a generation, oldest first, `limit` at most."""
        query = sa.select(
            ERASURES.c.generation, ERASURES.c.tenant_id, ERASURES.c.subject, ERASURES.c.before_month
        )
        after = query.where(ERASURES.c.generation > generation)
        with self._database.transaction() as connection:
            rows = connection.execute(after.order_by(ERASURES.c.generation).limit(limit)).all()
        return [Erasure(*row) for row in rows]

    # Parts of a transaction

    def _lookup(self, tenant_id: str, sub: str) -> bytes:
        message = netstrings((tenant_id,)) + sub.encode()
        return hmac.digest(self._lookup_key, message, hashlib.sha256)

    def _identity(
        self, connection: sa.Connection, tenant_id: str, lookup: bytes
    ) -> Identity | None:
        row = connection.execute(
            sa.select(SUBJECTS.c.subject, SUBJECTS.c.hmac_key).where(
                SUBJECTS.c.tenant_id == tenant_id, SUBJECTS.c.lookup == lookup
            )
        ).one_or_none()
        if row is None:
            return None
        if row.hmac_key is None:
            raise KeyErased(f"subject {row.subject} of tenant {tenant_id} was erased")
        return Identity(
            row.subject, self._master.unwrap(row.hmac_key, tenant_id, row.subject, "hmac")
        )

    def _new_subject(self, connection: sa.Connection, tenant_id: str, lookup: bytes) -> None:
        subject = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
        self._database.insert_new(
            connection,
            SUBJECTS,
            tenant_id=tenant_id,
            subject=subject,
            lookup=lookup,
            hmac_key=self._master.wrap(secrets.token_bytes(KEY_BYTES), tenant_id, subject, "hmac"),
            created_at=int(time.time()),
        )

    def _newest_key(
        self, connection: sa.Connection, tenant_id: str, subject: str, month: str
    ) -> DataKey | None:
        row = connection.execute(
            sa.select(DATA_KEYS.c.version, DATA_KEYS.c.wrapped)
            .where(*_of(DATA_KEYS, tenant_id, subject), DATA_KEYS.c.month == month)
            .order_by(DATA_KEYS.c.version.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        return self._data_key(tenant_id, subject, month, row.version, row.wrapped)

    def _data_key(
        self, tenant_id: str, subject: str, month: str, version: int, wrapped: bytes
    ) -> DataKey:
        key_version = f"{month}/{version}"
        return DataKey(key_version, self._master.unwrap(wrapped, tenant_id, subject, key_version))

    def _get_or_create(
        self, connection: sa.Connection, tenant_id: str, subject: str, month: str
    ) -> DataKey:
        _check_month(month)
        self._refuse_erased(connection, tenant_id, subject, month)
        key = secrets.token_bytes(KEY_BYTES)
        self._database.insert_new(
            connection,
            DATA_KEYS,
            tenant_id=tenant_id,
            subject=subject,
            month=month,
            version=1,
            wrapped=self._master.wrap(key, tenant_id, subject, f"{month}/1"),
            created_at=int(time.time()),
        )
        found = self._newest_key(connection, tenant_id, subject, month)
        if found is None:
            raise KeyMissing(f"a new key of {subject} for {month} cannot be read back")
        return found

    def _refuse_erased(
        self, connection: sa.Connection, tenant_id: str, subject: str, month: str
    ) -> None:
        row = connection.execute(
            sa.select(
                SUBJECTS.c.erased_at,
                sa.select(sa.func.max(ERASURES.c.before_month))
                .where(ERASURES.c.tenant_id == tenant_id)
                .scalar_subquery()
                .label("horizon"),
            ).where(*_of(SUBJECTS, tenant_id, subject))
        ).one_or_none()
        if row is None:
            raise KeyMissing(f"tenant {tenant_id} has no subject {subject} in this key store")
        if row.erased_at is not None:
            raise KeyErased(f"subject {subject} of tenant {tenant_id} was erased")
        if row.horizon is not None and month < row.horizon:
            raise KeyErased(f"keys of tenant {tenant_id} for {month} have expired")

    def _hold_erasures(self, connection: sa.Connection) -> None:
        """Keeps erasures out until the end of the transaction, so that none is overtaken by a
        new key. On SQLite the immediate transaction already does.
        """
        connection.execute(sa.select(STORE.c.generation).with_for_update(read=True))

    def _next_generation(self, connection: sa.Connection) -> int:
        return (
            int(connection.execute(sa.select(STORE.c.generation).with_for_update()).scalar_one())
            + 1
        )

    def _note(self, connection: sa.Connection, erasure: Erasure) -> None:
        connection.execute(sa.update(STORE).values(generation=erasure.generation))
        connection.execute(
            sa.insert(ERASURES).values(
                generation=erasure.generation,
                tenant_id=erasure.tenant_id,
                subject=erasure.subject,
                before_month=erasure.before_month,
                erased_at=int(time.time()),
            )
        )


def _of(table: sa.Table, tenant_id: str, subject: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.tenant_id == tenant_id, table.c.subject == subject)


def _can_be_ours(tenant_id: str, subject: str, key_version: str) -> bool:
    """Whether a key can have this name; a database may fail at others instead of finding none."""
    month, _, version = key_version.partition("/")
    is_version = _MONTH.fullmatch(month) and version.isdecimal() and len(version) <= 9
    return bool(is_version) and all(
        part.isascii() and part.isprintable() for part in (tenant_id, subject)
    )


def _check_month(month: str) -> None:
    if not _MONTH.fullmatch(month):
        raise ValueError("a month is written YYYY-MM")
