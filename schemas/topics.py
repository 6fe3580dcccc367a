"""Every topic: its name, its records, its partitions and how long it keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from schemas.commands import Command
from schemas.events import Event
from schemas.records import AnswerPiece, ConversationSnapshot, DeadLetter, KnowledgeDocument

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

PARTITIONS = 6
"""Shared by all topics keyed by conversation. Fixed at creation: another count remaps the keys."""


RECORD_BYTES_MAX = 1024 * 1024
EVENT_BYTES_MAX = 2 * RECORD_BYTES_MAX
"""An event carries its command's texts on in a longer envelope, so whatever fits in as a command
must fit in as its event; else one large record would stop the partition."""
DEAD_LETTER_BYTES_MAX = 2 * EVENT_BYTES_MAX
"""So must whatever is put aside, from every topic."""


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """A topic as it must exist on the broker."""

    name: str
    records: tuple[type, ...]
    partitions: int
    config: Mapping[str, str]
    record_bytes_max: int = RECORD_BYTES_MAX
    """The largest value of a record here, uncompressed."""

    def subject(self, record: type) -> str:
        """The registry's subject of a record here (strategy TopicRecordName)."""
        return f"{self.name}-{full_name(record)}"


def full_name(record: type) -> str:
    """The Avro name of a record, which is also its `ce_type`."""
    return f"parley.{record.__name__}"


def _keeping(
    retention_ms: int,
    record_bytes_max: int = RECORD_BYTES_MAX,
    segment_ms: int | None = None,
) -> Mapping[str, str]:
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "max.message.bytes": str(record_bytes_max),
    }
    if segment_ms is not None:
        config["segment.ms"] = str(segment_ms)
    return MappingProxyType(config)


_COMPACTED = MappingProxyType(
    # Kafka compacts and expires closed segments only, so they are closed in good time.
    {"cleanup.policy": "compact", "segment.ms": str(HOUR_MS)}
)

COMMANDS = Topic("parley.commands.v1", get_args(Command), PARTITIONS, _keeping(7 * DAY_MS))
EVENTS = Topic(
    "parley.events.v1",
    get_args(Event),
    PARTITIONS,
    _keeping(-1, EVENT_BYTES_MAX),
    EVENT_BYTES_MAX,
)
CONVERSATIONS = Topic("parley.conversations.v1", (ConversationSnapshot,), PARTITIONS, _COMPACTED)
TOKENS = Topic(
    "parley.tokens.v1", (AnswerPiece,), PARTITIONS, _keeping(HOUR_MS, segment_ms=HOUR_MS // 6)
)
CONFIG = Topic("parley.config.v1", (), 1, _COMPACTED)
KNOWLEDGE = Topic("parley.knowledge.v1", (KnowledgeDocument,), 1, _COMPACTED)
DEAD_LETTERS = Topic(
    "parley.dead-letters.v1",
    (DeadLetter,),
    1,
    _keeping(14 * DAY_MS, DEAD_LETTER_BYTES_MAX),
    DEAD_LETTER_BYTES_MAX,
)

TOPICS = (COMMANDS, EVENTS, CONVERSATIONS, TOKENS, CONFIG, KNOWLEDGE, DEAD_LETTERS)
"""The catalogue, in the order of the flow."""


def conversation_key(tenant_id: str, conversation_id: str) -> bytes:
    """The key of every record of a conversation."""
    return f"{tenant_id}:{conversation_id}".encode()


def key_of(record: Any) -> bytes:
    """The key of a record that names its conversation, itself or in its envelope."""
    place = getattr(record, "envelope", record)
    return conversation_key(place.tenant_id, place.conversation_id)
