"""The verification keys of an identity provider, kept fresh without trusting what tokens say."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import jwt

from gateway.auth import ASYMMETRIC, SigningKey
from schemas.failures import Unavailable

_LOG = logging.getLogger(__name__)

_CURVES = {"P-256": "ES256"}


class JwksKeys:
    """Keys by id from a JWKS address.

    Fetched again when the cache is old, and once per `refetch_ms` for a key id it does not know
    (rotation). While the provider is away the known keys go on working.
    """

    def __init__(
        self,
        url: str,
        *,
        algorithms: Sequence[str],
        cache_ms: int = 300_000,
        refetch_ms: int = 10_000,
        timeout_ms: int = 5000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        unknown = set(algorithms) - ASYMMETRIC
        if unknown:
            raise ValueError(f"a JWKS can't be used with {', '.join(sorted(unknown))}")
        self._url = url
        self._algorithms = tuple(algorithms)
        self._cache_s = cache_ms / 1000
        self._refetch_s = refetch_ms / 1000
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._clock = clock
        self._keys: dict[str | None, SigningKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        if algorithm not in self._algorithms:
            return None
        if self._clock() - self._fetched_at > self._cache_s or key_id not in self._keys:
            await self._refresh()
        key = self._keys.get(key_id)
        return key if key is not None and algorithm in key.algorithms else None

    async def _refresh(self) -> None:
        async with self._lock:
            if self._clock() - self._tried_at < self._refetch_s:
                return self._need_keys()
            self._tried_at = self._clock()
            try:
                self._keys = _usable(await self._fetch(), self._algorithms)
                self._fetched_at = self._clock()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                _LOG.warning("the identity provider's keys can't be had: %s", type(error).__name__)
                self._need_keys()

    def _need_keys(self) -> None:
        if self._fetched_at == float("-inf"):
            raise Unavailable("the identity provider's keys can't be had: check auth.jwks_url")

    async def _fetch(self) -> Any:
        async with (
            aiohttp.ClientSession(timeout=self._timeout) as session,
            session.get(self._url) as response,
        ):
            response.raise_for_status()
            return await response.json(content_type=None)


def _usable(jwks: Any, algorithms: tuple[str, ...]) -> dict[str | None, SigningKey]:
    """The keys that may verify, each with the one algorithm that its type allows."""
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ValueError("no JWKS")
    usable: dict[str | None, SigningKey] = {}
    for entry in jwks["keys"]:
        algorithm = _algorithm(entry)
        if algorithm not in algorithms or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry, algorithm=algorithm).key
        except jwt.PyJWTError:
            continue
        usable[entry.get("kid")] = SigningKey(key, (algorithm,))
    return usable


def _algorithm(entry: Any) -> str:
    """Decided by the key's type and curve; a JWKS's own `alg` can only agree."""
    if not isinstance(entry, dict):
        return ""
    match entry.get("kty"):
        case "RSA":
            found = "RS256"
        case "EC":
            found = _CURVES.get(entry.get("crv", ""), "")
        case "OKP":
            found = "EdDSA" if entry.get("crv") == "Ed25519" else ""
        case _:
            found = ""
    return found if entry.get("alg", found) == found else ""
