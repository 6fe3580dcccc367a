"""Tokens of the local stack, signed with its own development key. Never for production."""

from __future__ import annotations

import time
from collections.abc import Iterable

import jwt

from gateway.auth import LOCAL_ALGORITHM, ROLES
from schemas.identifiers import is_tenant_id

HOUR_S = 3600


def dev_token(
    secret: bytes,
    *,
    tenant_id: str,
    sub: str,
    roles: Iterable[str] = ("user",),
    issuer: str = "parley-dev",
    audience: str = "parley",
    ttl_s: int = HOUR_S,
) -> str:
    """A token for `sub` in a tenant. Raises `ValueError` for what a gateway would refuse."""
    named = list(roles)
    if not is_tenant_id(tenant_id):
        raise ValueError("a tenant is 1 to 63 of a-z, 0-9 and '-'")
    if not 0 < len(sub) <= 256:
        raise ValueError("a subject has 1 to 256 characters")
    if unknown := sorted(set(named) - ROLES):
        raise ValueError(f"no role {unknown[0]}; known are {', '.join(sorted(ROLES))}")
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": sub,
        "tenant_id": tenant_id,
        "roles": named,
        "iat": now,
        "exp": now + ttl_s,
    }
    return jwt.encode(claims, secret, algorithm=LOCAL_ALGORITHM)
