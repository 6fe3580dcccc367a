"""Whatever a foreign producer writes fits into a letter, sealed, and is told apart in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Message

from infra.keys import open_sealer
from infra.settings import load_settings
from infra.telemetry.metrics import Metrics
from schemas.avro_types import AvroSchema
from schemas.failures import Invalid
from schemas.records import DeadLetter
from schemas.topics import COMMANDS, DEAD_LETTER_BYTES_MAX, DEAD_LETTERS
from schemas.wire import TopicWire
from streams.dead_letters import CONTENT_BYTES_MAX, DeadLetters


class Ids:
    """A registry that knows one schema."""

    def __init__(self) -> None:
        self.schema: AvroSchema = None

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        self.schema = schema
        return 1

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        return self.schema


@pytest.mark.parametrize("size_bytes", [0, 1000, CONTENT_BYTES_MAX, CONTENT_BYTES_MAX + 1, 9 << 20])
def test_a_letter_fits_on_its_topic_however_large_the_record_was(
    size_bytes: int, tmp_path: Path
) -> None:
    sealer = open_sealer(load_settings(tmp_path).keys)
    wire = TopicWire(DEAD_LETTERS, Ids())
    letters = DeadLetters("conversation", wire, sealer, Metrics())
    poison = Message(topic=COMMANDS.name, partition=1, offset=7, key=b"k", value=b"x" * size_bytes)

    letter = letters.letter(poison, Invalid("wire_format", "no Avro record"))

    assert letter.value is not None
    assert len(letter.value) < DEAD_LETTER_BYTES_MAX
    record: DeadLetter = wire.decode(letter.value)
    kept = sealer.open_bytes(record.content, context=f"{COMMANDS.name}/1/7")
    assert kept == b"x" * min(size_bytes, CONTENT_BYTES_MAX)
    assert (str(size_bytes) in record.reason) == (size_bytes > CONTENT_BYTES_MAX)
