"""Local secrets that a stack makes for itself: 32 random bytes in a file only its owner reads.

The master key of the key store and the development key for tokens are kept this way.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from pathlib import Path

from infra.keys.errors import KeyStoreUnusable

SECRET_BYTES = 32


def read_or_create_secret(path: Path) -> bytes:
    """Returns the 32 bytes in `path` (hex), which is made with mode 0600 if it is absent.

    Processes that start together get the same bytes. Raises `KeyStoreUnusable` when the file
    holds something else, `OSError` when it cannot be read or made.
    """
    if not path.exists():
        _create(path)
    return parse_secret(path.read_text("ascii", errors="replace"), str(path))


def parse_secret(written: str, name: str) -> bytes:
    """Reads 32 bytes written as 64 hex digits or as base64; `name` says which, in errors."""

    text = written.strip()
    if len(text) == 2 * SECRET_BYTES:
        with contextlib.suppress(ValueError):
            return bytes.fromhex(text)
    try:
        secret = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "==")
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise KeyStoreUnusable(
            f"{name} does not hold a key: write 32 random bytes as 64 hex digits or as base64"
        )
    return secret


def _create(path: Path) -> None:
    """Writes the secret under another name first, so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a rename would replace the file of a process that was faster.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
