"""The conversation stage's transform alone: one partition, its state in memory, and no broker."""

from __future__ import annotations

from typing import Any

from processors.conversation.policy import Policy
from schemas.avro_types import AvroSchema
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS, key_of
from schemas.wire import TopicWire
from sinks.port import Delivery, TopicPartition
from streams.conversation_stage import ConversationTransform, OnRefused, conversation_format
from streams.state import MemoryState

FIRST = TopicPartition(COMMANDS.name, 0)


class OneId:
    """A registry that knows every schema under its own number."""

    def __init__(self) -> None:
        self._schemas: list[AvroSchema] = []

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        self._schemas.append(schema)
        return len(self._schemas) - 1

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        return self._schemas[schema_id]


def transform(on_refused: OnRefused = lambda tenant, code: None) -> ConversationTransform:
    """One that owns the first partition."""
    events, snapshots, commands = (TopicWire(t, OneId()) for t in (EVENTS, CONVERSATIONS, COMMANDS))
    states = {0: MemoryState(conversation_format(snapshots))}
    made = ConversationTransform(
        events,
        snapshots,
        commands,
        lambda partitions: states,
        lambda tenant: Policy(),
        on_refused=on_refused,
    )
    made.assigned([FIRST])
    return made


def deliveries(*commands: Any) -> list[Delivery]:
    """Commands as they come from the first partition."""
    return [
        Delivery(*FIRST, n, 0, command, key_of(command), None) for n, command in enumerate(commands)
    ]
