"""Sealing of free text: AES-256-GCM under a data key of the subject and the month.

What to seal and when is decided by who produces a record; this module only binds a text to its
place, so that it opens there and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.keys.errors import SealBroken
from infra.keys.keyring import Keyring
from infra.keys.store import Identity, open_key_store
from infra.keys.wrapping import NONCE_BYTES
from infra.settings.connections import KeySettings
from schemas.envelope import Sealed

PLAIN = "plain"
"""The key version of texts that were written with sealing switched off."""
BODY_HMAC_BYTES = 16
_SEALED, _CLEAR = b"\x01", b"\x00"

Piece = tuple[str, int, int]
"""Turn, attempt and first code point of a piece of a streamed answer."""


def open_sealer(settings: KeySettings) -> Sealer:
    """The sealer that the settings ask for. Raises as `open_key_store` does."""
    ring = Keyring(
        open_key_store(settings), size=settings.cache_size, revalidate_ms=settings.revalidate_ms
    )
    return Sealer(ring) if settings.sealing == "on" else PlainSealer(ring)


def body_hmac(hmac_key: bytes, body: bytes) -> bytes:
    """16 bytes that tell two bodies of one person apart (HMAC-SHA256, cut)."""
    return hmac.digest(hmac_key, body, hashlib.sha256)[:BODY_HMAC_BYTES]


class Sealer:
    """Seals and opens texts. Thread-safe.

    `seal` and `open` ask the key store only for keys this process has not met yet; on an event
    loop await `prefetch` or `prefetch_open` first.
    """

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._dead_letters = AESGCM(ring.store.dead_letter_key)

    def close(self) -> None:
        """Closes the key store behind the sealer."""
        self._ring.close()

    # People

    def identify(self, tenant_id: str, sub: str, month: str | None = None) -> Identity:
        """Pseudonym and HMAC key of the person behind a token's `sub`, made at first contact.

        Raises `KeyErased` for a person who was erased, `KeyStoreUnavailable` for an unknown one
        while the store is away.
        """
        return self._ring.identity(tenant_id, sub, month)

    async def prefetch(self, tenant_id: str, sub: str, month: str) -> Identity:
        """`identify` for event loops; afterwards `seal` in that month answers from memory."""
        known = self._ring.known_identity(tenant_id, sub)
        if known and self.is_cached(tenant_id, known.subject, month):
            return known
        return await asyncio.to_thread(self._ring.identity, tenant_id, sub, month)

    async def prefetch_key(self, tenant_id: str, subject: str, month: str) -> None:
        """Gets the key to seal with; afterwards `seal` answers from memory. Raises as `seal`."""
        if not self.is_cached(tenant_id, subject, month):
            await asyncio.to_thread(self._ring.current, tenant_id, subject, month)

    def is_cached(self, tenant_id: str, subject: str, month: str) -> bool:
        """Whether `seal` would answer without asking the key store."""
        return self._ring.current_known(tenant_id, subject, month)

    def is_open_cached(self, sealed: Sealed, *, tenant_id: str) -> bool:
        """Whether `open` would answer without asking the key store."""
        return self._ring.cipher_known(tenant_id, sealed.subject, sealed.key_version)

    async def prefetch_open(self, sealed: Sealed, *, tenant_id: str) -> None:
        """Gets the key of a text; afterwards `open` answers from memory. Raises as `open`."""
        if not self.is_open_cached(sealed, tenant_id=tenant_id):
            await asyncio.to_thread(
                self._ring.cipher, tenant_id, sealed.subject, sealed.key_version
            )

    def prefetch_batch(self, texts: Iterable[tuple[str, Sealed]]) -> None:
        """Gets the keys of many texts (with their tenants) in one go, for batches and replays.

        Blocks; raises `KeyStoreUnavailable`. What is missing or erased shows when it is opened.
        """
        self._ring.fetch((tenant, text.subject, text.key_version) for tenant, text in texts)

    # Texts

    def seal(
        self,
        text: str,
        *,
        tenant_id: str,
        conversation_id: str,
        subject: str,
        origin_id: str,
        field: str,
        month: str,
        piece: Piece | None = None,
    ) -> Sealed:
        """Seals a text under the subject's key of a month (`YYYY-MM`).

        `origin_id` is the command the text enters with, `piece` the stretch of an answer it is.
        Raises `KeyErased`, `KeyMissing` or `KeyStoreUnavailable`, and `ValueError` for a text
        that is not Unicode (lone surrogates) or a month that is none.
        """
        key_version, cipher = self._ring.current(tenant_id, subject, month)
        nonce = os.urandom(NONCE_BYTES)
        place = _place(tenant_id, conversation_id, subject, origin_id, field, key_version, piece)
        ciphertext = cipher.encrypt(nonce, text.encode(), place)
        return Sealed(subject, key_version, origin_id, field, nonce, ciphertext)

    def open(
        self, sealed: Sealed, *, tenant_id: str, conversation_id: str, piece: Piece | None = None
    ) -> str:
        """Opens a text where it was sealed for.

        Raises `KeyErased` when the text is gone for ever, `SealBroken` when it does not belong
        here or was altered, `KeyStoreUnavailable` when its key is not at hand just now.
        """
        if sealed.key_version == PLAIN:
            raise SealBroken("a text was written with sealing off, and sealing is on")
        cipher = self._ring.cipher(tenant_id, sealed.subject, sealed.key_version)
        try:
            place = _place(
                tenant_id,
                conversation_id,
                sealed.subject,
                sealed.origin_id,
                sealed.field,
                sealed.key_version,
                piece,
            )
            return cipher.decrypt(sealed.nonce, sealed.ciphertext, place).decode()
        except (InvalidTag, ValueError):
            raise SealBroken(
                f"field {sealed.field!a} of command {sealed.origin_id!a} does not open in "
                f"conversation {conversation_id}: it was sealed elsewhere or altered"
            ) from None

    # Dead letters

    def seal_bytes(self, content: bytes, *, context: str) -> bytes:
        """Seals bytes under the platform's key, bound to `context` (ASCII)."""
        nonce = os.urandom(NONCE_BYTES)
        return _SEALED + nonce + self._dead_letters.encrypt(nonce, content, context.encode("ascii"))

    def open_bytes(self, blob: bytes, *, context: str) -> bytes:
        """Opens what `seal_bytes` made with the same context; raises `SealBroken`."""
        nonce, content = blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :]
        try:
            if blob[:1] != _SEALED:
                raise InvalidTag
            return self._dead_letters.decrypt(nonce, content, context.encode("ascii"))
        except (InvalidTag, ValueError):
            raise SealBroken("sealed bytes do not belong to this place or were altered") from None

    # Erasing

    def erase_subject(self, tenant_id: str, subject: str) -> bool:
        """Deletes a subject's keys for ever; False if that was done before.

        Other processes forget the keys within `keys.revalidate_ms`.
        """
        return self._ring.erase_subject(tenant_id, subject)

    def expire_months(self, tenant_id: str, before_month: str) -> int:
        """Deletes a tenant's data keys of the months before one; returns how many."""
        return self._ring.expire_months(tenant_id, before_month)


class PlainSealer(Sealer):
    """Leaves everything in the clear, for tests that must be able to find text in the log."""

    def is_cached(self, tenant_id: str, subject: str, month: str) -> bool:
        """Always: there is no key to wait for."""
        return True

    def is_open_cached(self, sealed: Sealed, *, tenant_id: str) -> bool:
        """Always: there is no key to wait for."""
        return True

    def prefetch_batch(self, texts: Iterable[tuple[str, Sealed]]) -> None:
        """Nothing to get."""

    def seal(
        self,
        text: str,
        *,
        tenant_id: str,
        conversation_id: str,
        subject: str,
        origin_id: str,
        field: str,
        month: str,
        piece: Piece | None = None,
    ) -> Sealed:
        """The text as UTF-8 in the place of the ciphertext."""
        return Sealed(subject, PLAIN, origin_id, field, b"", text.encode())

    def open(
        self, sealed: Sealed, *, tenant_id: str, conversation_id: str, piece: Piece | None = None
    ) -> str:
        """The text; raises `SealBroken` for one that was sealed."""
        if sealed.key_version != PLAIN:
            raise SealBroken("a text is sealed, and sealing is off")
        return sealed.ciphertext.decode()

    def seal_bytes(self, content: bytes, *, context: str) -> bytes:
        """The bytes behind a mark."""
        return _CLEAR + content

    def open_bytes(self, blob: bytes, *, context: str) -> bytes:
        """What `seal_bytes` was given; raises `SealBroken` for sealed bytes."""
        if blob[:1] != _CLEAR:
            raise SealBroken("bytes are sealed, and sealing is off")
        return blob[1:]


def _place(
    tenant_id: str,
    conversation_id: str,
    subject: str,
    origin_id: str,
    field: str,
    key_version: str,
    piece: Piece | None,
) -> bytes:
    """The associated data: netstrings of ASCII parts, so that no part can reach into another.

    Written out, since it runs for every text: a loop takes twice as long.
    """
    place = (
        f"{len(tenant_id)}:{tenant_id},{len(conversation_id)}:{conversation_id},"
        f"{len(subject)}:{subject},{len(origin_id)}:{origin_id},{len(field)}:{field},"
        f"{len(key_version)}:{key_version},"
    )
    if piece is not None:
        turn, attempt, start = piece
        place += f"piece:{turn}:{attempt}:{start},"
    return place.encode("ascii")
