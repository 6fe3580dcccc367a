"""The way between a record's dataclass and the dict that fastavro writes and reads.

Both ways run for every record, so they are compiled: a small function is written for each
dataclass, as `dataclasses` itself does it. The way in checks that every value is exactly of its
field's type; what does not fit is explained by the slow path, which names the field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_type_hints

from schemas.avro_types import field_type, type_names

Convert = Callable[[Any], Any]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
_PYTHON_TYPES: dict[str, type] = {
    **{name: python for python, name in type_names.items()},
    "int": int,
    "array": tuple,
    "map": dict,
}


class Misfit(Exception):
    """A value is not of its field's type."""


def datum_of(record: type) -> Convert:
    """Compiles dataclass → dict, checking every value. The function raises `Misfit`."""
    fields = _fields(record)

    def explain(value: Any) -> None:
        for field in fields:
            field.check(getattr(value, field.name))

    names: dict[str, Any] = {"record": record, "explain": explain, "mistaken": _mistaken(record)}
    loads, checks, items = [], [], []
    for n, field in enumerate(fields):
        loads.append(f"    v{n} = value.{field.name}")
        condition = field.condition(f"v{n}")
        if condition:
            checks.append(condition)
        names[f"c{n}"] = field.inward
        items.append(f"        {field.name!r}: {field.expression(f'v{n}', f'c{n}', field.inward)},")
    source = [
        "def convert(value):",
        "    if type(value) is not record:",
        "        mistaken(value)",
        *loads,
        *([f"    if not ({' and '.join(checks)}):", "        explain(value)"] if checks else []),
        "    return {",
        *items,
        "    }",
    ]
    return _compiled(source, names)


def record_of(record: type) -> Convert:
    """Compiles dict → dataclass. The function raises `Misfit` or `KeyError`."""
    names: dict[str, Any] = {"record": record}
    arguments = []
    for n, field in enumerate(_fields(record)):
        names[f"c{n}"] = field.outward
        value = f"datum[{field.name!r}]"
        if field.outward is not None and field.optional:
            arguments.append(f"        None if {value} is None else c{n}({value}),")
        else:
            arguments.append(f"        {value if field.outward is None else f'c{n}({value})'},")
    return _compiled(["def convert(datum):", "    return record(", *arguments, "    )"], names)


def _compiled(source: list[str], names: dict[str, Any]) -> Convert:
    exec("\n".join(source), names)  # the text is ours: field names of our own dataclasses
    convert: Convert = names["convert"]
    return convert


def _mistaken(record: type) -> Convert:
    def mistaken(value: Any) -> None:
        raise Misfit(f"expected {record.__name__}, got {type(value).__name__}")

    return mistaken


def _fields(record: type) -> list[_Field]:
    hints = get_type_hints(record, include_extras=True)
    return [
        _Field(f.name, f"{record.__name__}.{f.name}", hints[f.name])
        for f in dataclasses.fields(record)
    ]


class _Field:
    """One field: the Python type it takes, and how its values are converted both ways."""

    def __init__(self, name: str, where: str, hint: Any) -> None:
        self.name = name
        self.where = where
        avro = field_type(hint, set())[0]
        self.optional = isinstance(avro, list)
        if self.optional:
            avro, hint = avro[1], _inside(hint, optional=True)
        self.avro = avro["type"] if isinstance(avro, dict) else avro
        self.nested = self.avro not in _PYTHON_TYPES
        self.python: type = _bare(hint) if self.nested else _PYTHON_TYPES[self.avro]
        self.inward, self.outward = self._conversions(hint)

    def condition(self, value: str) -> str:
        """What must hold for `value`; nothing for records, which check themselves."""
        if self.nested:
            return ""
        fits = f"type({value}) is {self.python.__name__}"
        if self.avro == "int":
            fits = f"({fits} and {INT32_MIN} <= {value} <= {INT32_MAX})"
        return f"({value} is None or {fits})" if self.optional else fits

    def expression(self, value: str, convert: str, conversion: Convert | None) -> str:
        """`value`, converted if need be."""
        if conversion is None:
            return value
        return (
            f"None if {value} is None else {convert}({value})"
            if self.optional
            else (f"{convert}({value})")
        )

    def check(self, value: Any) -> None:
        """Raises `Misfit` with the reason why a value does not fit, if it does not."""
        if self.optional and value is None:
            return
        kind: type = type(value)
        if kind is not self.python:
            wanted = self.python.__name__ + (" or NoneType" if self.optional else "")
            raise Misfit(f"{self.where} takes {wanted}, not {kind.__name__}")
        if self.avro == "int":
            self._in_range(value)

    def _conversions(self, hint: Any) -> tuple[Convert | None, Convert | None]:
        if self.nested:
            return datum_of(self.python), record_of(self.python)
        match self.avro:
            case "int":
                return None, self._in_range  # fastavro reads it as if it were a long
            case "array":
                item = _Field("", self.where, _inside(hint))
                return item.list_in, item.tuple_out
            case "map":
                item = _Field("", self.where, _inside(hint))
                return item.dict_in, item.dict_out
            case _:
                return None, None

    def _in_range(self, value: int) -> int:
        if INT32_MIN <= value <= INT32_MAX:
            return value
        raise Misfit(f"{self.where} takes 32 bits, {value} needs more")

    # As the item of an array or a map:

    def list_in(self, values: Any) -> list[Any]:
        if not self.nested:
            for value in values:
                self.check(value)
        inward = self.inward
        return list(values) if inward is None else [inward(value) for value in values]

    def tuple_out(self, values: Any) -> tuple[Any, ...]:
        outward = self.outward
        return tuple(values) if outward is None else tuple([outward(value) for value in values])

    def dict_in(self, entries: dict[Any, Any]) -> dict[str, Any]:
        if not all(type(key) is str for key in entries):
            raise Misfit(f"{self.where} takes keys of type str")
        return dict(zip(entries, self.list_in(entries.values()), strict=True))

    def dict_out(self, entries: dict[str, Any]) -> dict[str, Any]:
        # Copied even if nothing changes: a default is one object for all records.
        return dict(zip(entries, self.tuple_out(entries.values()), strict=True))


def _bare(hint: Any) -> Any:
    """A hint without its `Annotated` wrappings."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    return hint


def _inside(hint: Any, *, optional: bool = False) -> Any:
    """The hint inside `X | None`, `tuple[X, ...]` or `dict[str, X]`."""
    args = _bare(hint).__args__
    if optional:
        return next(a for a in args if a is not type(None))
    return args[1] if _bare(hint).__origin__ is dict else args[0]
