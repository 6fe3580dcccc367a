"""Strict Avro encoding and decoding of records.

fastavro does the bytes. It is lenient where a contract must not be: it takes `2**40` for an int,
cuts `3.7` to 3, drops unknown keys and ignores trailing bytes. Here the record's plan checks every
value on its way in; on its way out, the length and the range of 32-bit numbers are checked.
"""

from __future__ import annotations

from io import BytesIO
from typing import Generic, TypeVar

import fastavro

from schemas.avro_types import AvroSchema, record_schema
from schemas.failures import Invalid
from schemas.plans import Misfit, datum_of, record_of

R = TypeVar("R")


class RecordCodec(Generic[R]):
    """Encodes and decodes one record type in its present schema."""

    def __init__(self, record: type[R]) -> None:
        self.record = record
        self.schema: AvroSchema = record_schema(record)
        self._parsed = fastavro.parse_schema(_without_logical_types(self.schema))
        self._to_datum = datum_of(record)
        self._from_datum = record_of(record)

    def __repr__(self) -> str:
        return f"RecordCodec({self.record.__name__})"

    def encode(self, value: R) -> bytes:
        """The record's Avro body. Raises `Invalid` when a value does not fit its type exactly."""
        out = BytesIO()
        try:
            fastavro.schemaless_writer(out, self._parsed, self._to_datum(value))
        except (Misfit, AttributeError, TypeError, OverflowError, UnicodeEncodeError) as error:
            message = f"{self.record.__name__} can't be encoded: {error}"
            raise Invalid("encoding", message) from error
        return out.getvalue()

    def decode(self, body: bytes, offset: int = 0, writer: AvroSchema | None = None) -> R:
        """The record in `body` from `offset` on, written in schema `writer` (default: ours).

        Raises `Invalid` when the bytes are no such record, or go on after it.
        """
        data = BytesIO(body)
        data.seek(offset)
        try:
            if writer is None:
                datum = fastavro.schemaless_reader(data, self._parsed, None)
            else:
                datum = fastavro.schemaless_reader(data, writer, self._parsed)
            value = self._from_datum(datum)
        except Exception as error:  # fastavro raises nearly anything on bad bytes
            # The cause's own message can quote the bytes, so only its type is passed on.
            message = f"{self.record.__name__} can't be decoded: {type(error).__name__}"
            raise Invalid("decoding", message) from None
        if data.tell() != len(body):
            message = f"{self.record.__name__} has {len(body) - data.tell()} bytes after its end"
            raise Invalid("trailing_bytes", message)
        return value  # type: ignore[no-any-return]


def parse_writer_schema(schema: AvroSchema) -> AvroSchema:
    """Prepares a foreign writer's schema for `RecordCodec.decode`."""
    return fastavro.parse_schema(_without_logical_types(schema))


def _without_logical_types(schema: AvroSchema) -> AvroSchema:
    """Our own code reads timestamps as integers; building datetimes would cost more than Avro."""
    if isinstance(schema, list):
        return [_without_logical_types(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return schema["type"]
    inner = ("type", "items", "values", "fields")
    return {k: _without_logical_types(v) if k in inner else v for k, v in schema.items()}
