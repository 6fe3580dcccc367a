"""Strict Avro encoding and decoding of records.

fastavro takes what a contract must not (`2**40` for an int, `3.7` for a long, unknown keys, bytes
after the end), so our own code has to check every value of every record, and having it do the bytes
as well costs a third of doing both in turn. fastavro reads what was written in another schema.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Generic, TypeVar

import fastavro
from fastavro.schema import to_parsing_canonical_form

from schemas.avro_types import AvroSchema, record_schema
from schemas.decoders import Decode, decoder
from schemas.encoders import encoder
from schemas.failures import Invalid
from schemas.plans import Misfit, check, record_plan

R = TypeVar("R")


class RecordCodec(Generic[R]):
    """Encodes and decodes one record type in its present schema."""

    def __init__(self, record: type[R]) -> None:
        self.record = record
        self.schema: AvroSchema = record_schema(record)
        self._parsed = fastavro.parse_schema(_without_logical_types(self.schema))
        self._canonical = to_parsing_canonical_form(self.schema)
        self._plan = record_plan(record)
        self._encode = encoder(self._plan)
        self.read: Decode = decoder(self._plan)
        """What `decode` does with a body in our schema, without its checks."""

    def __repr__(self) -> str:
        return f"RecordCodec({self.record.__name__})"

    def writes_as(self, schema: AvroSchema) -> bool:
        """Whether records in `schema` have the same bytes as in ours.

        A registry gives schemas back in its own words; their canonical forms tell.
        """
        return bool(self._canonical == to_parsing_canonical_form(schema))

    def encode(self, value: R) -> bytes:
        """The record's Avro body. Raises `Invalid` when a value does not fit its type exactly."""
        try:
            return self._encode(value)
        except (Misfit, AttributeError, UnicodeEncodeError):
            message = f"{self.record.__name__} can't be encoded: {self._misfit(value)}"
            raise Invalid("encoding", message) from None

    def decode(self, body: bytes, offset: int = 0, writer: AvroSchema | None = None) -> R:
        """The record in `body` from `offset` on, written in schema `writer` (default: ours).

        Raises `Invalid` when the bytes are no such record, or go on after it.
        """
        try:
            if writer is None:
                value, end = self.read(body, offset)
            else:
                value, end = self._decode_foreign(body, offset, writer)
            if end > len(body):
                raise EOFError
        except Exception as error:  # fastavro raises nearly anything on bad bytes
            # Other messages than our own can quote the bytes.
            why = str(error) if type(error) is Misfit else type(error).__name__
            message = f"{self.record.__name__} can't be decoded: {why}"
            raise Invalid("decoding", message) from None
        if end != len(body):
            message = f"{self.record.__name__} has {len(body) - end} bytes after its end"
            raise Invalid("trailing_bytes", message)
        return value  # type: ignore[no-any-return]

    def _decode_foreign(self, body: bytes, offset: int, writer: AvroSchema) -> tuple[Any, int]:
        """A record of another schema is put into ours first, so that it is held to the same."""
        data = BytesIO(body)
        data.seek(offset)
        datum = fastavro.schemaless_reader(data, writer, self._parsed)
        ours = BytesIO()
        fastavro.schemaless_writer(ours, self._parsed, datum)
        return self.read(ours.getvalue(), 0)[0], data.tell()

    def _misfit(self, value: R) -> str:
        if type(value) is not self.record:
            return f"expected {self.record.__name__}, got {type(value).__name__}"
        try:
            check(self._plan, value)
        except (Misfit, AttributeError) as error:
            return str(error)
        return "it was changed meanwhile"


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
