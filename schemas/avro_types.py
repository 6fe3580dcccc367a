"""Turns a record's dataclass into its Avro schema. The result is committed under `avro/`."""

from __future__ import annotations

import dataclasses
import inspect
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from schemas.topics import full_name
from schemas.types import AvroType

type_names = {str: "string", int: "long", float: "double", bool: "boolean", bytes: "bytes"}

AvroSchema = Any
"""JSON as Avro defines it: a name, a union's list, or a complex type's object."""


def record_schema(record: type, _seen: set[str] | None = None) -> AvroSchema:
    """The Avro record of a dataclass; a nested record is spelled out where it first occurs."""
    seen = set() if _seen is None else _seen
    name = full_name(record)
    if name in seen:
        return name
    seen.add(name)
    hints = get_type_hints(record, include_extras=True)
    return {
        "type": "record",
        "name": record.__name__,
        "namespace": name.rpartition(".")[0],
        "doc": inspect.cleandoc(record.__doc__ or ""),
        "fields": [_field(f, hints[f.name], seen) for f in dataclasses.fields(record)],
    }


def _field(field: dataclasses.Field[Any], hint: Any, seen: set[str]) -> dict[str, Any]:
    avro_type, doc = field_type(hint, seen)
    out: dict[str, Any] = {"name": field.name, "type": avro_type}
    if doc:
        out["doc"] = doc
    if field.default is not dataclasses.MISSING:
        default = field.default
        out["default"] = list(default) if isinstance(default, tuple) else default
    elif field.default_factory is not dataclasses.MISSING:
        out["default"] = field.default_factory()
    return out


def field_type(hint: Any, seen: set[str]) -> tuple[AvroSchema, str]:
    """The Avro type of a type hint, and the documentation that its annotations carry."""
    doc = ""
    explicit: AvroType | None = None
    while get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        for note in notes:
            if isinstance(note, AvroType):
                explicit = note
            elif isinstance(note, str):
                doc = note
        hint = inner
    if explicit is not None:
        if explicit.logical is None:
            return explicit.name, doc
        return {"type": explicit.name, "logicalType": explicit.logical}, doc
    return _plain_type(hint, seen), doc


def _plain_type(hint: Any, seen: set[str]) -> AvroSchema:
    if hint in type_names:
        return type_names[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return record_schema(hint, seen)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        members = [a for a in args if a is not type(None)]
        if len(members) == 1 and len(args) == 2:
            return ["null", field_type(members[0], seen)[0]]
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": field_type(args[0], seen)[0]}
    if origin is dict and args[0] is str:
        return {"type": "map", "values": field_type(args[1], seen)[0]}
    raise TypeError(f"{hint!r} has no Avro type here; see schemas/README.md for those that do")
