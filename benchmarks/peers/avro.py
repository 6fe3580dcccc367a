"""What contenders with fastavro share. One runs in an environment without ours: import nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro

BATCH_MAX = 20_000
LAST = 8
WIRE_BYTES = 5


class AvroJob:
    """A job with its schemas ready. `fields` is the job as `work.Job` describes it."""

    def __init__(self, file: str) -> None:
        self.fields: dict[str, Any] = json.loads(Path(file).read_text())
        self.said: Any = fastavro.parse_schema(self.fields["schemas"]["said"])
        self.folded: Any = fastavro.parse_schema(self.fields["schemas"]["folded"])
        self.prefix = b"\0" + self.fields["ids"]["folded"].to_bytes(4, "big")

    def decode(self, value: bytes) -> Any:
        """What was said."""
        return fastavro.schemaless_reader(io.BytesIO(value[WIRE_BYTES:]), self.said, self.said)

    def encode(self, record: Any, count: int, last: list[str]) -> bytes:
        """The event that follows from it."""
        event = io.BytesIO()
        event.write(self.prefix)
        fields = {
            "tenant_id": record["tenant_id"],
            "conversation_id": record["conversation_id"],
            "number": record["number"],
            "count": count,
            "last": last,
        }
        fastavro.schemaless_writer(event, self.folded, fields)
        return event.getvalue()
