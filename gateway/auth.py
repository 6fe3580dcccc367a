"""Who a token speaks for. Keys come from an identity provider's JWKS or from the local stack.

What the person may do is decided in `gateway.authorise`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt

from gateway.close_codes import BAD_TOKEN, TOKEN_EXPIRED
from gateway.refusals import Ended
from schemas.identifiers import is_tenant_id

LOCAL_ALGORITHM = "HS256"
ASYMMETRIC = frozenset(("RS256", "ES256", "EdDSA"))
REQUIRED = ("iss", "aud", "exp", "sub", "tenant_id")
ROLES = frozenset(("user", "agent", "supervisor", "analyst", "admin"))
SUBPROTOCOL = "chat.v1"
TOKEN_SUBPROTOCOL = "base64url.bearer."
EXPIRES_AT_MAX = 253_402_300_800
"""The year 10000; what lies behind it was not counted in seconds."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The person behind a socket. `sub` stays out of logs, records and keys."""

    tenant_id: str
    sub: str = field(repr=False)
    roles: frozenset[str]
    expires_at: float
    """Seconds since 1970."""

    def same_person(self, other: Caller) -> bool:
        """Whether a new token may take over from this one."""
        return (self.tenant_id, self.sub) == (other.tenant_id, other.sub)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that may verify tokens, and the only algorithms it may do that with."""

    key: Any = field(repr=False)
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Where keys for verification come from."""

    async def find(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        """The key that a token names, None if there is none. Raises `Unavailable`."""
        ...


class LocalKey:
    """The development key of the local stack: one shared secret, HS256 only."""

    def __init__(self, secret: bytes) -> None:
        self._key = SigningKey(secret, (LOCAL_ALGORITHM,))

    async def find(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        return self._key if algorithm == LOCAL_ALGORITHM else None


class Verifier:
    """Verifies tokens against keys, issuer, audience and time."""

    def __init__(self, keys: Keys, *, issuer: str, audience: str, leeway_ms: int = 5000) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_ms / 1000

    async def verify(self, token: str) -> Caller:
        """The caller of a token.

        Raises `Ended` with 4401 for an expired token and 4500 for every other fault, without
        saying which to whom does not hold the key, and `Unavailable` when keys can't be had.
        """
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            # Nobody has signed this yet: it may be no text at all, or nested without end.
            raise Ended(BAD_TOKEN, "the token is not a JWT") from None
        algorithm = header.get("alg")
        key_id = header.get("kid")
        if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
            raise Ended(BAD_TOKEN)
        key = await self._keys.find(key_id, algorithm)
        if key is None:
            raise Ended(BAD_TOKEN, "no known key and algorithm fits the token")
        return self._caller(self._claims(token, key))

    def _claims(self, token: str, key: SigningKey) -> dict[str, Any]:
        try:
            # The algorithms belong to the key and never come from the token: a public RSA key
            # must not become an HMAC secret.
            return jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": list(REQUIRED)},
            )
        except jwt.ExpiredSignatureError:
            raise Ended(TOKEN_EXPIRED) from None
        except jwt.InvalidAudienceError:
            raise Ended(BAD_TOKEN, "the token is for another audience") from None
        except jwt.InvalidIssuerError:
            raise Ended(BAD_TOKEN, "the token is from another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise Ended(BAD_TOKEN, f"the token has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise Ended(BAD_TOKEN) from None

    def _caller(self, claims: dict[str, Any]) -> Caller:
        tenant, sub, roles = claims["tenant_id"], claims["sub"], claims.get("roles", [])
        if not isinstance(tenant, str) or not is_tenant_id(tenant):
            raise Ended(BAD_TOKEN, "tenant_id must be 1 to 63 of a-z, 0-9 and '-'")
        if not isinstance(sub, str) or not 0 < len(sub) <= 256 or not _is_unicode(sub):
            raise Ended(BAD_TOKEN, "sub must be 1 to 256 characters")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise Ended(BAD_TOKEN, "roles must be a list of names")
        expires_at = int(claims["exp"])
        if expires_at > EXPIRES_AT_MAX:
            raise Ended(BAD_TOKEN, "exp must be in seconds since 1970")
        # Roles that mean nothing here belong to other products of the same issuer.
        return Caller(tenant, sub, frozenset(roles) & ROLES, float(expires_at))


def _is_unicode(text: str) -> bool:
    """JSON can carry half of a surrogate pair, and UTF-8 can't."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


@dataclass(frozen=True, slots=True)
class Offered:
    """What a request offers before the upgrade."""

    token: str | None = field(repr=False)
    subprotocol: bool
    """Whether `chat.v1` was offered, so that a browser can be told why it is refused."""
    subprotocols: tuple[str, ...] = field(default=(), repr=False)


def offered(authorization: str | None, subprotocols: Sequence[str]) -> Offered:
    """Reads the token from the `Authorization` header, else from the subprotocol pair.

    Raises `Ended` (4500) for a header that is there but holds no bearer token.
    """
    names = tuple(name.strip() for name in subprotocols if name.strip())
    speaks = SUBPROTOCOL in names
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Ended(BAD_TOKEN, "the Authorization header holds no bearer token")
        return Offered(token.strip(), speaks, names)
    for name in names:
        if name.startswith(TOKEN_SUBPROTOCOL):
            return Offered(_decoded(name.removeprefix(TOKEN_SUBPROTOCOL)), speaks, names)
    return Offered(None, speaks, names)


def _decoded(encoded: str) -> str:
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise Ended(BAD_TOKEN, "the token in the subprotocol is not base64url") from None
