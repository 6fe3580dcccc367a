"""Who is asking: the credentials of a request, and what they open.

ClickHouse's clients send a bearer token, a basic password, `X-ClickHouse-Key`, or a `password` in
the address; all of them carry our token. The user's name means nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from infra.clickhouse.errors import ClickHouseError

AUTHENTICATION_FAILED = 516


class Role(Enum):
    """What a reader may do."""

    TENANT = "tenant"
    """Sees the views of its tenant."""
    OPERATOR = "operator"
    """Sees every table, and changes nothing."""
    OWNER = "owner"
    """May also write: the processes of this installation, never a person's tool."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Someone who was let in. `tenant_id` is set for tenants only."""

    role: Role
    tenant_id: str = ""

    def __post_init__(self) -> None:
        if (self.role is Role.TENANT) != bool(self.tenant_id):
            raise ValueError(f"a {self.role.value} with tenant {self.tenant_id!r} makes no sense")


def _nobody(_: str) -> Reader | None:
    return None


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in. `verify` is asked about tokens that are not listed, such as JWTs."""

    open_on_loopback: bool = True
    """Whoever can open a socket on this machine is an operator, without a token."""
    tokens: Mapping[str, Reader] = field(default_factory=dict, repr=False)
    verify: Callable[[str], Reader | None] = _nobody

    def reader(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Reader:
        """The reader behind a request. Raises `ClickHouseError` 516 if there is none."""
        token = _token(headers, query)
        if token:
            for known, reader in self.tokens.items():
                if hmac.compare_digest(known.encode(), token.encode()):
                    return reader
            if (reader_found := self.verify(token)) is not None:
                return reader_found
        elif self.open_on_loopback and is_loopback(headers.get("Host", "")):
            return Reader(Role.OPERATOR)
        raise ClickHouseError(
            "Authentication failed: send a valid token as bearer token or password",
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
        )


def is_loopback(host: str) -> bool:
    """Whether a host, with or without port, names this machine.

    A page in a browser can make its own name resolve to 127.0.0.1, but not change the name.
    """
    name = host.rpartition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
    return name in ("localhost", "::1") or name.startswith("127.")


def _token(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return credentials  # not empty, so it is refused and not taken for an absent one
    return headers.get("X-ClickHouse-Key") or query.get("password", "")
