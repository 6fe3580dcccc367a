"""The record of these demonstrations."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said something."""

    tenant_id: str
    conversation_id: str
    number: int
    traceparent: str | None = None


def topic(name: str) -> Topic:
    """A topic of one partition that holds it."""
    return Topic(name, (Said,), 1, {})
