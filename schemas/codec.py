"""Strict Avro encoding and decoding of records.

fastavro does the bytes. It is lenient where a contract must not be: it takes `2**40` for an int,
cuts `3.7` to 3, drops unknown keys and ignores trailing bytes. Here a plan is compiled from each
dataclass once, which checks every value on its way in; on its way out, the length and the range
of 32-bit numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from io import BytesIO
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_type_hints

import fastavro

from schemas.avro_types import AvroSchema, field_type, record_schema, type_names
from schemas.failures import Invalid

R = TypeVar("R")
Convert = Callable[[Any], Any]

PRIMITIVES = frozenset(("int", "long", "double", "string", "boolean", "bytes"))
INT32_MAX = 2**31 - 1


class RecordCodec(Generic[R]):
    """Encodes and decodes one record type in its present schema."""

    def __init__(self, record: type[R]) -> None:
        self.record = record
        self.schema: AvroSchema = record_schema(record)
        self._parsed = fastavro.parse_schema(_without_logical_types(self.schema))
        self._to_datum = _to_datum(record)
        self._from_datum = _from_datum(record)

    def __repr__(self) -> str:
        return f"RecordCodec({self.record.__name__})"

    def encode(self, value: R) -> bytes:
        """The record's Avro body. Raises `Invalid` when a value does not fit its type exactly."""
        out = BytesIO()
        try:
            fastavro.schemaless_writer(out, self._parsed, self._to_datum(value))
        except (_Misfit, AttributeError, TypeError, OverflowError, UnicodeEncodeError) as error:
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


class _Misfit(Exception):
    """A value is not of its field's type."""


def _to_datum(record: type) -> Convert:
    """Compiles dataclass → the dict that fastavro writes, checking every field.

    A record whose fields' types were all right once is right whenever it has those types again,
    so the common case costs one look-up; only nested values and 32-bit ranges are looked at anew.
    """
    hints = get_type_hints(record, include_extras=True)
    names = tuple(f.name for f in dataclasses.fields(record))
    fields = tuple(_Field(f"{record.__name__}.{name}", hints[name]) for name in names)
    converted = tuple((n, f.convert) for n, f in zip(names, fields, strict=True) if f.convert)
    values_of: Convert = attrgetter(*names, names[0])  # always a tuple, its last item spare
    accepted: set[tuple[type, ...]] = set()

    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not record:
            raise _Misfit(f"expected {record.__name__}, got {type(value).__name__}")
        values = values_of(value)
        kinds = tuple(map(type, values))
        if kinds not in accepted:
            for field, kind in zip(fields, kinds, strict=False):
                field.accept(kind)
            accepted.add(kinds)
        datum = dict(zip(names, values, strict=False))
        for name, inner in converted:
            datum[name] = inner(datum[name])
        return datum

    return convert


class _Field:
    """One field's accepted Python types, and the conversion of its values where they need one."""

    def __init__(self, where: str, hint: Any) -> None:
        self.where = where
        avro = field_type(hint, set())[0]
        optional = isinstance(avro, list)
        if optional:
            avro, hint = avro[1], _nested(hint, optional=True)
        self.kinds = (_python_type(avro, hint),) + ((type(None),) if optional else ())
        inner = self._conversion(avro, hint)
        self.convert = _nullable(inner) if optional and inner is not None else inner

    def accept(self, kind: type) -> None:
        if kind not in self.kinds:
            wanted = " or ".join(k.__name__ for k in self.kinds)
            raise _Misfit(f"{self.where} takes {wanted}, not {kind.__name__}")

    def _conversion(self, avro: AvroSchema, hint: Any) -> Convert | None:
        kind = avro["type"] if isinstance(avro, dict) else avro
        if kind == "int":
            return _in_range(INT32_MAX, self.where)
        if kind in ("array", "map"):
            item = _Field(self.where, _nested(hint))
            return _items(item) if kind == "array" else _entries(item)
        return None if kind in PRIMITIVES else _to_datum(_bare(hint))


def _python_type(avro: AvroSchema, hint: Any) -> type:
    kind = avro["type"] if isinstance(avro, dict) else avro
    python_types: dict[str, type] = {"array": tuple, "map": dict, "int": int} | {
        name: python for python, name in type_names.items()
    }
    return python_types.get(kind) or _bare(hint)


def _in_range(maximum: int, where: str) -> Convert:
    def check(value: int) -> int:
        if -maximum - 1 <= value <= maximum:
            return value
        raise _Misfit(f"{where} takes {maximum.bit_length() + 1} bits, {value} needs more")

    return check


def _nullable(inner: Convert) -> Convert:
    return lambda value: None if value is None else inner(value)


def _items(item: _Field) -> Convert:
    inner = item.convert or (lambda value: value)

    def convert(values: tuple[Any, ...]) -> list[Any]:
        for kind in set(map(type, values)):
            item.accept(kind)
        return [inner(value) for value in values]

    return convert


def _entries(item: _Field) -> Convert:
    values_of = _items(item)

    def convert(entries: dict[str, Any]) -> dict[str, Any]:
        if not all(type(key) is str for key in entries):
            raise _Misfit(f"{item.where} takes keys of type str")
        return dict(zip(entries, values_of(tuple(entries.values())), strict=True))

    return convert


def _from_datum(record: type) -> Convert:
    """Compiles the dict that fastavro read → dataclass."""
    hints = get_type_hints(record, include_extras=True)
    candidates = (
        (n, _rebuild(field_type(h, set())[0], h, f"{record.__name__}.{n}"))
        for n, h in hints.items()
    )
    nested = tuple((name, rebuild) for name, rebuild in candidates if rebuild is not None)

    def convert(datum: dict[str, Any]) -> Any:
        for name, rebuild in nested:
            datum[name] = rebuild(datum[name])
        return record(**datum)

    return convert


def _rebuild(avro: AvroSchema, hint: Any, where: str) -> Convert | None:
    """How a decoded value becomes the dataclass's; None where it already is."""
    if isinstance(avro, list):
        inner = _rebuild(avro[1], _nested(hint, optional=True), where)
        return None if inner is None else _nullable(inner)
    kind = avro["type"] if isinstance(avro, dict) else avro
    if kind == "int":
        return _in_range(INT32_MAX, where)  # fastavro reads it as if it were a long
    if kind == "array":
        item = _rebuild(avro["items"], _nested(hint), where)
        return tuple if item is None else _tuple_of(item)
    if kind == "map":
        value = _rebuild(avro["values"], _nested(hint), where)
        # Copied even if nothing changes: a default is one object for all records.
        return dict if value is None else _dict_of(value)
    return None if kind in PRIMITIVES else _from_datum(_bare(hint))


def _tuple_of(item: Convert) -> Convert:
    return lambda values: tuple([item(value) for value in values])


def _dict_of(value: Convert) -> Convert:
    return lambda entries: {key: value(inner) for key, inner in entries.items()}


def _bare(hint: Any) -> Any:
    """A hint without its `Annotated` wrappings."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    return hint


def _nested(hint: Any, *, optional: bool = False) -> Any:
    """The hint inside `X | None`, `tuple[X, ...]` or `dict[str, X]`."""
    args = _bare(hint).__args__
    if optional:
        return next(a for a in args if a is not type(None))
    return args[1] if _bare(hint).__origin__ is dict else args[0]


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
