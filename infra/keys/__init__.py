"""Keys of people and months, and sealing of text under them. See the README beside this."""

from infra.keys.errors import (
    KeyErased,
    KeyMissing,
    KeyStoreUnavailable,
    KeyStoreUnusable,
    SealBroken,
)
from infra.keys.sealing import PLAIN, PlainSealer, Sealer, body_hmac, open_sealer
from infra.keys.secret_file import read_or_create_secret
from infra.keys.store import DataKey, Identity, KeyStore, open_key_store

__all__ = [
    "PLAIN",
    "DataKey",
    "Identity",
    "KeyErased",
    "KeyMissing",
    "KeyStore",
    "KeyStoreUnavailable",
    "KeyStoreUnusable",
    "PlainSealer",
    "SealBroken",
    "Sealer",
    "body_hmac",
    "open_key_store",
    "open_sealer",
    "read_or_create_secret",
]
