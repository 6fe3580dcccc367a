"""The wire format with ids that nobody has to be asked for."""

from __future__ import annotations

from schemas.avro_types import AvroSchema
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS
from schemas.wire import TopicWire


class OwnIds:
    """A registry that lives in the process (`schemas.wire.SchemaIds`)."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, AvroSchema] = {}

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        found = self._ids.setdefault(subject, len(self._ids) + 1)
        self._schemas[found] = schema
        return found

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        return self._schemas.get(schema_id)


_IDS = OwnIds()
COMMAND_WIRE = TopicWire(COMMANDS, _IDS)
EVENT_WIRE = TopicWire(EVENTS, _IDS)
SNAPSHOT_WIRE = TopicWire(CONVERSATIONS, _IDS)
for wire in (COMMAND_WIRE, EVENT_WIRE, SNAPSHOT_WIRE):
    wire.prepare()
