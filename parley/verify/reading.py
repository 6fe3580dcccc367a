"""Reads the log, the snapshots and Redis for a comparison, a partition at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from confluent_kafka import KafkaException

from parley.verify.comparing import Stored
from parley.verify.differences import Conversation
from processors.conversation.state import Conversation as State
from processors.conversation.state import upcast
from schemas.failures import Invalid, Unavailable
from schemas.topics import CONVERSATIONS, EVENTS, conversation_key
from schemas.wire import TopicWire
from sinks.port import Delivery
from sinks.redis.connection import away
from sinks.redis.keys import FRAME, conversation_keys, entry_seq
from streams.batch import StageLost
from streams.decoding import Decoder
from streams.kafka_options import KafkaOptions
from streams.restore import read_to_end

log = logging.getLogger(__name__)

CONVERSATIONS_AT_ONCE = 50
"""Conversations read from Redis in one round trip; each may have a log of 1 MiB."""


class LogReader:
    """The events of the log, from where the last call stopped."""

    def __init__(self, wire: TopicWire, options: KafkaOptions) -> None:
        self._decoder = Decoder([wire])
        self._options = options
        self._next = dict.fromkeys(range(EVENTS.partitions), 0)
        self.unreadable: list[tuple[int, int, str]] = []
        """Partition, offset and reason of records that are no events of theirs."""

    def read(self, partitions: Sequence[int], key: bytes | None = None) -> Iterator[Delivery]:
        """Events up to the present end, those of one key only if it is given.

        Raises `Unavailable` when Kafka does not answer.
        """
        starts = {p: self._next[p] for p in partitions}
        for partition, messages, next_offset in _stretches(EVENTS.name, starts, self._options):
            for message in messages:
                if key is not None and message.key() != key:
                    continue
                try:
                    delivery = self._decoder.decode(message)
                except Invalid as error:
                    self.unreadable.append((partition, message.offset(), error.code))
                    continue
                if delivery is not None:
                    yield delivery
            self._next[partition] = next_offset


class SnapshotReader:
    """The latest snapshots, from where the last call stopped."""

    def __init__(self, wire: TopicWire, options: KafkaOptions) -> None:
        self._wire = wire
        self._options = options
        self._next = dict.fromkeys(range(CONVERSATIONS.partitions), 0)

    def read(self, partition: int) -> dict[bytes, bytes]:
        """Newer snapshots of a partition by key, encoded."""
        starts = {partition: self._next[partition]}
        found: dict[bytes, bytes] = {}
        for _, messages, next_offset in _stretches(CONVERSATIONS.name, starts, self._options):
            for message in messages:
                if message.value() is None:
                    found.pop(message.key(), None)
                else:
                    found[message.key()] = message.value()
            self._next[partition] = next_offset
        return found

    def decode(self, value: bytes | None) -> State | None:
        """A snapshot; None for none. Raises `Invalid` for bytes that are no snapshot."""
        return None if value is None else upcast(self._wire.decode(value))

    def encode(self, state: State) -> bytes:
        """The snapshot that the conversation stage writes of a state."""
        return self._wire.encode(state)


def _stretches(
    topic: str, starts: dict[int, int], options: KafkaOptions
) -> Iterator[tuple[int, list[Any], int]]:
    try:
        yield from read_to_end(topic, starts, options)
    except (StageLost, KafkaException) as error:
        raise Unavailable(f"Kafka stopped answering while {topic} was read: {error}") from error


class RedisReader:
    """What Redis holds of conversations."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def read(self, conversations: Sequence[Conversation]) -> dict[Conversation, Stored | None]:
        """Views, open turns and logs, each conversation at one moment. Raises `Unavailable`."""
        found: dict[Conversation, Stored | None] = {}
        for start in range(0, len(conversations), CONVERSATIONS_AT_ONCE):
            some = conversations[start : start + CONVERSATIONS_AT_ONCE]
            found |= zip(some, self._rows(some), strict=True)
        return found

    def _rows(self, conversations: Sequence[Conversation]) -> Iterator[Stored | None]:
        pipeline = self._client.pipeline(transaction=True)
        for conversation in conversations:
            keys = conversation_keys(*conversation)
            pipeline.hgetall(keys.view)
            pipeline.hmget(keys.turn, "turn", "attempt")
            pipeline.xrange(keys.log)
        try:
            answers: list[Any] = pipeline.execute()
        except (redis.RedisError, OSError) as error:
            raise away(error) from error
        for at in range(0, len(answers), 3):
            yield _stored(*answers[at : at + 3])

    def conversations(self, epoch: str) -> Iterator[Conversation]:
        """Every conversation that has a view of this epoch. Raises `Unavailable`."""
        try:
            for key in self._client.scan_iter(match=b"parley:{*}:view", count=1000):
                if self._client.hget(key, "epoch") == epoch.encode():
                    tag = key[key.index(b"{") + 1 : key.index(b"}")].decode()
                    tenant, _, conversation = tag.partition(":")
                    yield tenant, conversation
        except (redis.RedisError, OSError) as error:
            raise away(error) from error


def _stored(
    view: dict[bytes, bytes], turn: Sequence[bytes | None], entries: Sequence[Any]
) -> Stored | None:
    if not view:
        return None
    open_turn, attempt = turn
    return Stored(
        seq=int(view.get(b"seq", b"0")),
        epoch=view.get(b"epoch", b"").decode(),
        owner=view.get(b"owner", b"").decode(),
        status=view.get(b"status", b"").decode(),
        state=view.get(b"state", b""),
        turn=None if open_turn is None else (open_turn.decode(), int(attempt or 0)),
        frames=tuple((entry_seq(entry), fields[FRAME]) for entry, fields in entries),
    )


def snapshot_key(conversation: Conversation) -> bytes:
    """The key of a conversation's snapshot."""
    return conversation_key(*conversation)
