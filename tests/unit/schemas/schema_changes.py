"""Changes of a small record: those that every reader can follow, and those that break."""

from __future__ import annotations

from typing import Any


def record(*fields: dict[str, Any], name: str = "Thing") -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "parley", "fields": list(fields)}


def field(name: str, kind: Any = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


NOTHING = record(field("a"))
INNER = record(field("x", "long"), name="Inner")
TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}

COMPATIBLE = {
    "the same": (NOTHING, NOTHING),
    "a field added with a default": (NOTHING, record(field("a"), field("b", default=""))),
    "a nullable field added with a default": (
        NOTHING,
        record(field("a"), field("b", ["null", "string"], default=None)),
    ),
    "fields in another order": (
        record(field("a"), field("b", "long")),
        record(field("b", "long"), field("a")),
    ),
    "another default": (record(field("a", default="x")), record(field("a", default="y"))),
    "another documentation": (NOTHING, record(field("a", doc="new words"))),
    "a record spelled out in another place": (
        record(field("a", INNER), field("b", "parley.Inner")),
        record(field("b", INNER), field("a", "parley.Inner")),
    ),
}
INCOMPATIBLE = {
    "a field added without a default": (NOTHING, record(field("a"), field("b"))),
    "another type": (NOTHING, record(field("a", "long"))),
    "a wider number": (record(field("a", "int")), record(field("a", "long"))),
    "a number as a float": (record(field("a", "long")), record(field("a", "double"))),
    "bytes for a string": (NOTHING, record(field("a", "bytes"))),
    "a field made nullable": (NOTHING, record(field("a", ["null", "string"]))),
    "another member of a union": (
        record(field("a", ["null", "string"])),
        record(field("a", ["null", "long"])),
    ),
    "a renamed field": (NOTHING, record(field("b"))),
    "a renamed record": (NOTHING, record(field("a"), name="Other")),
    "a renamed nested record": (
        record(field("a", INNER)),
        record(field("a", {**INNER, "name": "Renamed"})),
    ),
    "a change in a nested record": (
        record(field("a", INNER)),
        record(field("a", record(field("x", "string"), name="Inner"))),
    ),
    "a change in a nullable nested record": (
        record(field("a", ["null", INNER])),
        record(field("a", ["null", record(field("y", "long"), name="Inner")])),
    ),
    "other items": (
        record(field("a", {"type": "array", "items": "string"})),
        record(field("a", {"type": "array", "items": "long"})),
    ),
    "other values": (
        record(field("a", {"type": "map", "values": "string"})),
        record(field("a", {"type": "map", "values": "long"})),
    ),
    "an array for a map": (
        record(field("a", {"type": "array", "items": "string"})),
        record(field("a", {"type": "map", "values": "string"})),
    ),
    "a dropped timestamp": (record(field("a", TIMESTAMP)), record(field("a", "long"))),
}
