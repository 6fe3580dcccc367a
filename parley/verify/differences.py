"""What a comparison can find, in words that name the place and never quote a text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

Conversation = tuple[str, str]
"""Tenant and conversation."""

LOG, REDIS, CLICKHOUSE, SNAPSHOTS = "log", "redis", "clickhouse", "snapshots"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One disagreement: where it shows, about what, and both sides in short."""

    tenant_id: str
    conversation_id: str
    where: str
    what: str
    expected: str
    found: str


def fingerprint(content: bytes | None) -> str:
    """Bytes as their number and the start of their digest: reports never hold texts."""
    if content is None:
        return "nothing"
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]}"
