"""What one process remembers of the key store, and how it learns of erasures.

A thread asks the store for new erasures; an erased key is forgotten by every process within
`keys.revalidate_ms`. While the store is away, remembered keys go on working.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.keys.errors import KeyErased, KeyStoreUnavailable
from infra.keys.store import DataKey, Erasure, Identity, KeyStore

_LOG = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that forgets what was not used for longest. Not locked by itself."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        """The value, which counts as used now."""
        value = self._held.get(key)
        if value is not None:
            self._held.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Remembers a value and forgets the oldest one beyond the size."""
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    def entries(self) -> list[tuple[K, V]]:
        """A copy of what is held."""
        return list(self._held.items())

    def drop(self, key: K) -> None:
        """Forgets one key, if it is held."""
        self._held.pop(key, None)


class Keyring:
    """Keys by subject, month and version, from memory or else from the store. Thread-safe."""

    def __init__(self, store: KeyStore, *, size: int, revalidate_ms: int) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._identities: Recent[tuple[str, str], Identity] = Recent(size)
        self._current: Recent[tuple[str, str, str], tuple[str, AESGCM]] = Recent(size)
        self._ciphers: Recent[tuple[str, str, str], AESGCM] = Recent(size)
        self._gone: Recent[tuple[str, str, str], str] = Recent(size)
        self._generation = store.generation()
        # Whoever erased before this process began may have ended before the files were clean.
        self._files_may_hold_erased = self._generation > 0
        self._stop = threading.Event()
        # Twice within the bound, so that one slow answer does not break the promise.
        self._pause_s = revalidate_ms / 2000
        self._follower = threading.Thread(target=self._follow, name="key-erasures", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Stops following erasures and closes the store."""
        self._stop.set()
        self._follower.join(timeout=10)
        self.store.close()

    def identity(self, tenant_id: str, sub: str, month: str | None = None) -> Identity:
        """The person behind a token's `sub`; with a month, the data key is at hand as well."""
        found = self.known_identity(tenant_id, sub)
        if found and (month is None or self.current_known(tenant_id, found.subject, month)):
            return found
        generation = self._generation
        found, key = self.store.contact(tenant_id, sub, month)
        with self._lock:
            if generation == self._generation:
                self._identities.put((tenant_id, sub), found)
        if key is not None:
            self._remember(tenant_id, found.subject, key, generation, month)
        return found

    def known_identity(self, tenant_id: str, sub: str) -> Identity | None:
        """The identity if it is remembered; never asks the store."""
        with self._lock:
            return self._identities.get((tenant_id, sub))

    def current(self, tenant_id: str, subject: str, month: str) -> tuple[str, AESGCM]:
        """Version and cipher of the key to seal with; made by the store if there is none."""
        place = (tenant_id, subject, month)
        found = self._held(self._current, place)
        if found is not None:
            return found
        generation = self._generation
        try:
            key = self.store.current_key(tenant_id, subject, month)
        except KeyErased as erased:
            self._remember_gone(place, erased)
            raise
        return key.key_version, self._remember(tenant_id, subject, key, generation, month)

    def _held(self, held: Recent[tuple[str, str, str], V], place: tuple[str, str, str]) -> V | None:
        """What is remembered of a place. Raises `KeyErased` if that is that its key is gone."""
        with self._lock:
            found = held.get(place)
            gone = None if found is not None else self._gone.get(place)
        if gone is not None:
            raise KeyErased(gone)
        return found

    def current_known(self, tenant_id: str, subject: str, month: str) -> bool:
        """Whether `current` would answer without asking the store."""
        with self._lock:
            return self._current.get((tenant_id, subject, month)) is not None

    def cipher(self, tenant_id: str, subject: str, key_version: str) -> AESGCM:
        """The cipher of an existing key. Raises as `KeyStore.key` does."""
        place = (tenant_id, subject, key_version)
        found = self._held(self._ciphers, place)
        if found is not None:
            return found
        generation = self._generation
        try:
            key = self.store.key(tenant_id, subject, key_version)
        except KeyErased as erased:
            self._remember_gone(place, erased)
            raise
        return self._remember(tenant_id, subject, key, generation)

    def cipher_known(self, tenant_id: str, subject: str, key_version: str) -> bool:
        """Whether `cipher` would answer without asking the store."""
        place = (tenant_id, subject, key_version)
        with self._lock:
            return self._ciphers.get(place) is not None or self._gone.get(place) is not None

    def fetch(self, wanted: Iterable[tuple[str, str, str]]) -> None:
        """Gets many keys (tenant, subject, key version) at once; missing ones stay missing."""
        by_tenant: dict[str, set[tuple[str, str]]] = {}
        for tenant_id, subject, key_version in wanted:
            if not self.cipher_known(tenant_id, subject, key_version):
                by_tenant.setdefault(tenant_id, set()).add((subject, key_version))
        generation = self._generation
        for tenant_id, places in by_tenant.items():
            for subject, keys in self.store.keys(tenant_id, places).items():
                for key in keys:
                    self._remember(tenant_id, subject, key, generation)

    def _remember(
        self, tenant_id: str, subject: str, key: DataKey, generation: int, month: str | None = None
    ) -> AESGCM:
        cipher = AESGCM(key.key)
        with self._lock:
            # A key that was read before an erasure that is known by now may be an erased one.
            if generation == self._generation:
                self._ciphers.put((tenant_id, subject, key.key_version), cipher)
                if month is not None:
                    self._current.put((tenant_id, subject, month), (key.key_version, cipher))
        return cipher

    def _remember_gone(self, place: tuple[str, str, str], erased: KeyErased) -> None:
        """Gone is for ever, so replaying an erased conversation asks once and not per record."""
        with self._lock:
            self._gone.put(place, str(erased))

    def erase_subject(self, tenant_id: str, subject: str) -> bool:
        """Erases in the store and here at once."""
        done = self.store.erase_subject(tenant_id, subject)
        self.refresh()
        return done

    def expire_months(self, tenant_id: str, before_month: str) -> int:
        """Expires in the store and here at once."""
        deleted = self.store.expire_months(tenant_id, before_month)
        self.refresh()
        return deleted

    def refresh(self) -> None:
        """Forgets everything that was erased since the last time, and sees to it that the
        store's files forget it too: whoever erased may have been kept from that, and be gone.

        Raises `KeyStoreUnavailable` when the store does not answer; nothing is forgotten then.
        """
        while erasures := self.store.erasures_since(self._generation):
            with self._lock:
                # Another thread may have looked further meanwhile.
                self._generation = max(self._generation, erasures[-1].generation)
                self._forget(erasures)
            self._files_may_hold_erased = True
        if self._files_may_hold_erased:
            # Cleared first: what is erased meanwhile sets it again.
            self._files_may_hold_erased = False
            if not self.store.overwrite_deleted():
                self._files_may_hold_erased = True

    def _forget(self, erasures: list[Erasure]) -> None:
        subjects = {(each.tenant_id, each.subject) for each in erasures if each.subject}
        horizons: dict[str, str] = {}
        for each in erasures:
            if each.before_month is not None:
                known = horizons.get(each.tenant_id, "")
                horizons[each.tenant_id] = max(known, each.before_month)

        def erased(place: tuple[str, str, str]) -> bool:
            tenant_id, subject, month = place
            return (tenant_id, subject) in subjects or month[:7] < horizons.get(tenant_id, "")

        for place, _ in self._ciphers.entries():
            if erased(place):
                self._ciphers.drop(place)
        for place, _ in self._current.entries():
            if erased(place):
                self._current.drop(place)
        for who, identity in self._identities.entries():
            if (who[0], identity.subject) in subjects:
                self._identities.drop(who)

    def _follow(self) -> None:
        away = False
        while not self._stop.wait(self._pause_s):
            try:
                self.refresh()
            # Whatever it is: who stops listening goes on opening what was erased.
            except Exception as error:
                if not away:
                    _LOG.warning("%s; erasures are not heard of until then", _in_words(error))
                away = True
            else:
                if away:
                    _LOG.info("the key store answers again")
                away = False


def _in_words(error: Exception) -> str:
    """What may be logged of an error: a database's own words may quote a statement's values."""
    if isinstance(error, KeyStoreUnavailable):
        return str(error)
    return f"the key store answered with {type(error).__name__}: look at its database"
