"""Says whether two schemas of a record can read each other, by Avro's rules of schema resolution.

Covers the Avro types that records here are made of, without a registry, so that a change that
old readers or old records can't follow is found where it is made. Stricter than the registry in
two points: a logical type must stay, since foreign readers turn it into another type, and bytes
never stand for a string.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.avro_types import AvroSchema

PROMOTIONS: dict[str, frozenset[str]] = {
    "int": frozenset(("long", "float", "double")),
    "long": frozenset(("float", "double")),
    "float": frozenset(("double",)),
}
"""What a reader may take a writer's number for."""

Names = dict[str, dict[str, Any]]


def incompatibilities(one: AvroSchema, other: AvroSchema) -> list[str]:
    """Why records of one schema can't be read with the other, both ways; empty if they can.

    Each sentence names the field by its path and the side that breaks.
    """
    return [f"records of the first: {why}" for why in unreadable(other, one)] + [
        f"records of the second: {why}" for why in unreadable(one, other)
    ]


def unreadable(reader: AvroSchema, writer: AvroSchema) -> list[str]:
    """Why a reader with one schema can't follow a writer with another; empty if it can."""
    resolution = _Resolution(_names(reader, {}), _names(writer, {}))
    return list(dict.fromkeys(resolution.problems(reader, writer, "")))


class _Resolution:
    """Walks two schemas side by side; `problems` yields what a reader would stumble over."""

    def __init__(self, reader_names: Names, writer_names: Names) -> None:
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._compared: set[tuple[str, str]] = set()

    def problems(self, reader: AvroSchema, writer: AvroSchema, at: str) -> Iterator[str]:
        reader, writer = _spelled(reader, self._reader_names), _spelled(writer, self._writer_names)
        if isinstance(writer, list):
            for member in writer:
                yield from self.problems(reader, member, at)
        elif isinstance(reader, list):
            if not any(self._fits(member, writer, at) for member in reader):
                yield f"{at or 'the record'} can be {_kind(writer)}, which the reader can't take"
        elif _kind(reader) == _kind(writer) == "record":
            yield from self._record(reader, writer, at)
        elif _kind(reader) == _kind(writer) and _kind(reader) in ("array", "map"):
            inner = "items" if _kind(reader) == "array" else "values"
            yield from self.problems(reader[inner], writer[inner], f"{at}[]")
        elif not _same_value(reader, writer):
            yield f"{at or 'the record'} is {_shown(writer)} and would be read as {_shown(reader)}"

    def _fits(self, reader: AvroSchema, writer: AvroSchema, at: str) -> bool:
        # A trial must not count as a comparison that was made, or the next one would be empty.
        compared = set(self._compared)
        fits = not any(True for _ in self.problems(reader, writer, at))
        self._compared = compared
        return fits

    def _record(self, reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[str]:
        names = _full_name(reader), _full_name(writer)
        if names in self._compared:
            return
        self._compared.add(names)
        if names[0] != names[1]:
            yield f"{at or 'the record'} is a {names[1]} and would be read as {names[0]}"
            return
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            path = f"{at}.{field['name']}" if at else field["name"]
            if field["name"] in written:
                yield from self.problems(field["type"], written[field["name"]]["type"], path)
            elif "default" not in field:
                yield f"{path} is missing and has no default"


def _same_value(reader: AvroSchema, writer: AvroSchema) -> bool:
    if _kind(reader) not in ({_kind(writer)} | PROMOTIONS.get(_kind(writer), frozenset())):
        return False
    return _logical(reader) == _logical(writer)


def _names(schema: AvroSchema, found: Names) -> Names:
    """Every record of a schema by its full name."""
    if isinstance(schema, list):
        for member in schema:
            _names(member, found)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            found[_full_name(schema)] = schema
            for field in schema["fields"]:
                _names(field["type"], found)
        for inner in ("items", "values"):
            _names(schema.get(inner), found)
    return found


def _spelled(schema: AvroSchema, names: Names) -> AvroSchema:
    return names.get(schema, schema) if isinstance(schema, str) else schema


def _full_name(record: dict[str, Any]) -> str:
    name, namespace = record["name"], record.get("namespace")
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _kind(schema: AvroSchema) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _logical(schema: AvroSchema) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _shown(schema: AvroSchema) -> str:
    if isinstance(schema, list):
        return " or ".join(map(_shown, schema))
    kind = _full_name(schema) if _kind(schema) == "record" else _kind(schema)
    return f"{kind} ({_logical(schema)})" if _logical(schema) else kind
