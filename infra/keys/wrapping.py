"""Wrapping of stored keys under the master key, and the platform's own keys."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.keys.errors import KeyStoreUnusable
from infra.keys.secret_file import parse_secret, read_or_create_secret
from infra.settings.connections import KeySettings

NONCE_BYTES = 12
KEY_BYTES = 32


class MasterKey:
    """Wraps keys with AES-256-GCM, each bound to the place in the store it belongs to."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "MasterKey(***)"

    def wrap(self, key: bytes, *place: str) -> bytes:
        """Returns nonce and ciphertext; `place` is tenant, subject and what the key is for."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, netstrings(place))

    def unwrap(self, wrapped: bytes, *place: str) -> bytes:
        """Raises `KeyStoreUnusable` when the key was wrapped elsewhere or by another master key."""
        try:
            return self._cipher.decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], netstrings(place)
            )
        except (InvalidTag, ValueError):
            raise KeyStoreUnusable(
                "the key store was written under another master key: give this process the key "
                "that the store began with (keys.master_key or keys.master_key_file)"
            ) from None


def master_key(settings: KeySettings) -> MasterKey:
    """The master key from the settings, else from its file, which is made at first use."""
    if settings.master_key is not None:
        return MasterKey(parse_secret(settings.master_key.get_secret_value(), "keys.master_key"))
    path = settings.master_key_file
    if path is None:
        raise KeyStoreUnusable("no master key: set keys.master_key or keys.master_key_file")
    try:
        return MasterKey(read_or_create_secret(path))
    except OSError as error:
        raise KeyStoreUnusable(
            f"the master key in {path} cannot be read or made ({error.strerror}): "
            "correct keys.master_key_file or the folder's permissions"
        ) from None


def derive(key: bytes, purpose: str) -> bytes:
    """An independent 32-byte key for one purpose (HKDF-SHA256)."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def netstrings(parts: tuple[str, ...]) -> bytes:
    """Joins ASCII strings so that no two different lists give the same bytes."""
    return "".join([f"{len(part)}:{part}," for part in parts]).encode("ascii")
