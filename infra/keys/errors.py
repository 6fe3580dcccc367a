"""What can go wrong with keys and sealed text, said as what the runtime must do about it.

Failure
├── Unavailable
│   └── KeyStoreUnavailable   the store is away: retry later, nothing is lost
├── Invalid
│   └── SealBroken            text and place do not belong together: dead letter
│       └── KeyMissing        this store never made the key
└── KeyErased                 the text is gone for ever: go on without it

KeyStoreUnusable              wrong master key, newer store, unknown database: do not start
"""

from __future__ import annotations

from schemas.failures import Failure, Invalid, Unavailable


class KeyStoreUnavailable(Unavailable):
    """The key store does not answer. Cached keys still work; new subjects and months wait."""


class KeyErased(Failure):
    """The key was erased with its subject or expired with its month; its text cannot be read
    again by anyone, and the subject or month gets no new key.
    """


class SealBroken(Invalid):
    """The text was not sealed for this tenant, conversation, field and key, or was altered."""

    def __init__(self, message: str, code: str = "seal_broken") -> None:
        super().__init__(code, message)


class KeyMissing(SealBroken):
    """The key store neither has the key nor a record of erasing it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "key_missing")


class KeyStoreUnusable(Exception):
    """The store or the master key is not the right one; nothing can start with it."""
