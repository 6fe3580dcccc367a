"""One number for each conversation's events, the same from the log and from the tables.

`parley verify` compares them, and asks for the events themselves where they differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from infra.clickhouse.port import ClickHouse
from schemas.envelope import Envelope

Conversation = tuple[str, str]
"""Tenant and conversation."""

_MODULUS = 2**64
_HASH = (
    "reinterpretAsUInt64(substring(MD5(concat("
    "toString(seq), '|', toString(event_id), '|', event_type)), 1, 8))"
)


@dataclass(frozen=True, slots=True)
class Digest:
    """How many events, and the sum of their hashes modulo 2**64, which no order changes."""

    events: int = 0
    total: int = 0

    def plus(self, seq: int, event_id: str, event_type: str) -> Digest:
        """The digest with one more event."""
        total = (self.total + event_hash(seq, event_id, event_type)) % _MODULUS
        return Digest(self.events + 1, total)


@dataclass(frozen=True, slots=True)
class EventKey:
    """What of an event goes into the digest."""

    seq: int
    event_id: str
    event_type: str


def event_hash(seq: int, event_id: str, event_type: str) -> int:
    """The first 8 bytes of the MD5 of `seq|event_id|event_type`, little-endian."""
    text = f"{seq}|{event_id}|{event_type}".encode()
    return int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:8], "little")


def digests_of_events(events: Iterable[tuple[Envelope, str]]) -> dict[Conversation, Digest]:
    """Digests of events from the log: their envelopes and types."""
    digests: dict[Conversation, Digest] = {}
    for envelope, event_type in events:
        key = (envelope.tenant_id, envelope.conversation_id)
        before = digests.get(key, Digest())
        digests[key] = before.plus(envelope.seq, envelope.event_id, event_type)
    return digests


def digests_of_table(
    clickhouse: ClickHouse, database: str = "parley", tenant_id: str | None = None
) -> dict[Conversation, Digest]:
    """Digests of the rows, each event once."""
    rows = clickhouse.query_rows(
        f"""
        SELECT tenant_id, conversation_id, count(), sum({_HASH})
        FROM {database}.events FINAL
        WHERE {{tenant:String}} = '' OR tenant_id = {{tenant:String}}
        GROUP BY tenant_id, conversation_id
        """,
        {"tenant": tenant_id or ""},
    )
    return {(tenant, conversation): Digest(n, total) for tenant, conversation, n, total in rows}


def events_of_conversation(
    clickhouse: ClickHouse, tenant_id: str, conversation_id: str, database: str = "parley"
) -> list[EventKey]:
    """The rows of one conversation by `seq`, to say where it differs."""
    rows = clickhouse.query_rows(
        f"""
        SELECT seq, toString(event_id), event_type FROM {database}.events FINAL
        WHERE tenant_id = {{tenant:String}} AND conversation_id = {{conversation:String}}
        ORDER BY seq
        """,
        {"tenant": tenant_id, "conversation": conversation_id},
    )
    return [EventKey(*row) for row in rows]


def surplus_rows(clickhouse: ClickHouse, database: str = "parley") -> int:
    """Rows that were inserted twice and not yet merged. Views don't show them; 0 is expected."""
    ((surplus,),) = clickhouse.query_rows(
        f"SELECT toInt64(count()) - toInt64(uniqExact(tenant_id, conversation_id, seq))"
        f" FROM {database}.events"
    )
    return int(surplus)
