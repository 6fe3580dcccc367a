"""The Confluent wire format: a zero byte, the schema's id in four bytes, the Avro body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from schemas.avro_types import AvroSchema
from schemas.codec import RecordCodec, parse_writer_schema
from schemas.failures import Invalid
from schemas.topics import Topic, full_name

MAGIC = b"\x00"
HEADER_BYTES = 5


class SchemaIds(Protocol):
    """What the wire format asks of a schema registry."""

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        """The id of a schema under a subject. Raises `Unavailable` when it can't be known now."""
        ...

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        """The schema of an id, None if there is none. Raises `Unavailable` as above."""
        ...


class TopicWire:
    """Encodes and decodes the records of one topic.

    Ids are asked for once and kept, so after the first record of each kind no registry is needed.
    """

    def __init__(self, topic: Topic, ids: SchemaIds) -> None:
        self.topic = topic
        self._ids = ids
        self._codecs: dict[type, RecordCodec[Any]] = {r: RecordCodec(r) for r in topic.records}
        self._by_name = {full_name(r): c for r, c in self._codecs.items()}
        self._prefixes: dict[type, bytes] = {}
        self._readers: dict[bytes, tuple[RecordCodec[Any], AvroSchema | None]] = {}

    def __repr__(self) -> str:
        return f"TopicWire({self.topic.name})"

    def prepare(self, records: Sequence[type] | None = None) -> None:
        """Learns the ids of `records` (default: all), so that encoding can't fail on them later."""
        for record in self.topic.records if records is None else records:
            self._prefix(record)

    def encode(self, record: Any) -> bytes:
        """The record's bytes. Raises `Invalid` if it does not fit its schema or the topic."""
        kind = type(record)
        prefix = self._prefixes.get(kind) or self._prefix(kind)
        return prefix + self._codecs[kind].encode(record)

    def decode(self, value: bytes) -> Any:
        """The record in `value`. Raises `Invalid` for anything that is no record of this topic."""
        codec, writer = self._reader_of(value)
        return codec.decode(value, HEADER_BYTES, writer)

    def known(self, prefix: bytes) -> RecordCodec[Any] | None:
        """The codec of the records under a prefix, if one was met and they are in our schema."""
        codec, writer = self._readers.get(prefix, (None, None))
        return codec if writer is None else None

    def record_type(self, value: bytes) -> type | None:
        """The type of the record in `value`, without decoding it; None if this topic knows none.

        Raises `Invalid` for what is not in the wire format.
        """
        try:
            return self._reader_of(value)[0].record
        except Invalid as error:
            if error.code == "unknown_record":
                return None
            raise

    def _prefix(self, kind: type) -> bytes:
        codec = self._codecs.get(kind)
        if codec is None:
            raise Invalid("wrong_topic", f"{kind.__name__} has no place on {self.topic.name}")
        schema_id = self._ids.id_of(self.topic.subject(kind), codec.schema)
        prefix = self._prefixes[kind] = MAGIC + schema_id.to_bytes(4, "big")
        return prefix

    def _reader_of(self, value: bytes) -> tuple[RecordCodec[Any], AvroSchema | None]:
        prefix = value[:HEADER_BYTES]
        return self._readers.get(prefix) or self._reader(prefix)

    def _reader(self, prefix: bytes) -> tuple[RecordCodec[Any], AvroSchema | None]:
        if len(prefix) < HEADER_BYTES or prefix[:1] != MAGIC:
            raise Invalid("wire_format", f"a value on {self.topic.name} is no Avro record")
        schema_id = int.from_bytes(prefix[1:], "big")
        schema = self._ids.schema_of(schema_id)
        if schema is None:
            message = f"schema id {schema_id} on {self.topic.name} is unknown to the registry"
            raise Invalid("unknown_schema", message)
        name = schema_name(schema)
        codec = self._by_name.get(name)
        if codec is None:
            raise Invalid("unknown_record", f"{name} has no place on {self.topic.name}")
        reader = self._readers[prefix] = (codec, self._writer_schema(schema_id, schema, codec))
        return reader

    def _writer_schema(
        self, schema_id: int, schema: AvroSchema, codec: RecordCodec[Any]
    ) -> AvroSchema | None:
        try:
            return None if codec.writes_as(schema) else parse_writer_schema(schema)
        except Exception as error:  # fastavro raises nearly anything on a bad schema
            why = type(error).__name__
            message = f"schema id {schema_id} on {self.topic.name} can't be used: {why}"
            raise Invalid("unknown_schema", message) from error


def schema_name(schema: AvroSchema) -> str:
    """The full name of a record schema, empty for anything else."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return ""
    name = str(schema.get("name", ""))
    namespace = schema.get("namespace")
    return name if "." in name or not namespace else f"{namespace}.{name}"
