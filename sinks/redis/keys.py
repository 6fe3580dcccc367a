"""Names of everything that Parley keeps in Redis. What the values hold is in README.md here."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

EPOCH = b"parley:epoch"
"""String: the id of the events topic that everything here was folded from."""

FRAME = b"f"
"""Field of a log entry: the client's frame, as it is sent."""

LOG_EVENTS_MAX = 2_000
LOG_BYTES_MAX = 1_048_576
LOG_AGE_MS = 24 * 3_600_000
"""A log is gone this long after its conversation's latest event; the view stays."""


class ConversationKeys(NamedTuple):
    """The keys of one conversation. They share a hash tag, so a cluster keeps them together."""

    log: bytes
    """Stream: entry id `<seq>-0`, field `f`."""
    view: bytes
    """Hash: `seq`, `epoch`, `owner`, `status`, `state` and the sink's own fields."""
    turn: bytes
    """Hash: `turn`, `attempt`, `at`, `text` of the open turn; absent when none is open."""
    held: bytes
    """Hash: pieces of answers that came ahead of what they follow. The sink's own."""
    bell: bytes
    """Pub/Sub channel: every event frame and tokens frame, the moment it is applied."""


@lru_cache(maxsize=4096)
def conversation_keys(tenant_id: str, conversation_id: str) -> ConversationKeys:
    """The keys of a conversation."""
    start = b"parley:{%b:%b}:" % (tenant_id.encode(), conversation_id.encode())
    return ConversationKeys(
        start + b"log", start + b"view", start + b"turn", start + b"held", start + b"bell"
    )


def offset_key(topic: str, partition: int) -> bytes:
    """String: the next offset to apply of a partition. It only rises."""
    return b"parley:offsets:%b:%d" % (topic.encode(), partition)


def entry_id(seq: int) -> bytes:
    """The log's entry id of an event."""
    return b"%d-0" % seq


def entry_seq(entry: bytes) -> int:
    """The `seq` of a log's entry id."""
    return int(entry.partition(b"-")[0])
