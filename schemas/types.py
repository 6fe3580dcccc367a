"""The building blocks of record definitions: field types with units that map onto Avro.

A record is a frozen dataclass; `schemas.avro_types` turns it into the Avro file under `avro/`.
A second argument of `Annotated` that is a string becomes the field's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class AvroType:
    """Names the Avro type of a field where Python's own type does not decide it."""

    name: str
    logical: str | None = None


Int32 = Annotated[int, AvroType("int")]
Int64 = int
"""A plain `int` is an Avro long."""
TimestampMicros = Annotated[int, AvroType("long", "timestamp-micros")]
"""Microseconds since 1970 in UTC. Foreign readers see a timestamp, our own code an integer."""
Uuid = Annotated[str, AvroType("string", "uuid")]
"""A UUID in its lower-case text form."""
