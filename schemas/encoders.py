"""Writes a function for each record that checks a value and turns it into Avro bytes.

`schemas.records.FinishedTurn` gets this one:

    def encode(value):
        if not (
            type(v0 := value) is FinishedTurn
            and type(v1 := v0.turn_id) is str
            and type(v2 := v0.message_seq) is int and -(1 << 63) <= v2 < 1 << 63
            and type(v3 := v0.outcome) is str
        ):
            raise Misfit
        return join((
            ONE_BYTE[n] if (n := len(b := v1.encode())) < 64 else number(n),
            b,
            ONE_BYTE[v2] if -64 <= v2 < 64 else number(v2),
            ONE_BYTE[n] if (n := len(b := v3.encode())) < 64 else number(n),
            b,
        ))

A record inside a record is written in place. What may be there never or many times, in an optional
field, an array or a map, is left to a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from struct import Struct
from typing import Any

from schemas.plans import BITS, Misfit, Plan
from schemas.varints import ONE_BYTE, number

Encode = Callable[[Any], bytes]

_NO_MORE = b"\x00"


def encoder(plan: Plan) -> Encode:
    """Raises `Misfit`, `AttributeError` or `UnicodeEncodeError`, without a word of explanation."""
    function = EncoderText()
    function.add(plan, "value")
    return function.compiled(plan.where)


def _item_encoder(plan: Plan) -> Encode:
    """The same for an item of an array, or for an entry of a map as a pair."""
    function = EncoderText()
    (item,) = plan.inside
    if plan.avro == "map":
        function.add(Plan("key", plan.where, "string", str), "value[0]")
        function.add(item, "value[1]")
    else:
        function.add(item, "value")
    return function.compiled(plan.where)


def _items(values: Collection[Any], encode: Encode) -> bytes:
    """All items in one block, and the sign that no other follows."""
    if not values:
        return _NO_MORE
    return b"".join((number(len(values)), *map(encode, values), _NO_MORE))


class EncoderText:
    """The text of one function while it grows, and the objects that it has names for."""

    def __init__(self) -> None:
        self._checks: list[str] = []
        self._parts: list[str] = []
        self._names: dict[str, Any] = {
            "Misfit": Misfit,
            "ONE_BYTE": ONE_BYTE,
            "number": number,
            "double": Struct("<d").pack,
            "items": _items,
            "join": b"".join,
        }

    def __str__(self) -> str:
        checks = "\n        and ".join(self._checks)
        parts = "".join(f"        {part},\n" for part in self._parts)
        return (
            "def encode(value):\n"
            f"    if not (\n        {checks}\n    ):\n"
            "        raise Misfit\n"
            f"    return join((\n{parts}    ))\n"
        )

    def compiled(self, title: str) -> Encode:
        """The function; `title` is for profiles and tracebacks."""
        # The text is ours: classes and field names of our own dataclasses.
        exec(compile(str(self), f"<encoder of {title}>", "exec"), self._names)
        encode: Encode = self._names["encode"]
        return encode

    def add(self, plan: Plan, expression: str) -> None:
        """Checks and writes the value that `expression` yields."""
        value = f"v{len(self._checks)}"
        self._checks.append(self._check(plan, expression, value))
        if plan.avro == "record" and not plan.optional:
            for field in plan.inside:
                self.add(field, f"{value}.{field.name}")
        elif plan.optional:
            self._parts.append(rf"b'\x00' if {value} is None else b'\x02'")
            self._parts += [f"b'' if {value} is None else {p}" for p in self._bytes(plan, value)]
        else:
            self._parts += self._bytes(plan, value)

    def _check(self, plan: Plan, expression: str, value: str) -> str:
        """What must hold, as an expression that also gives the value its name."""
        kind = plan.python.__name__
        self._names[kind] = plan.python
        limits = ""
        if plan.avro in BITS:
            bits = BITS[plan.avro] - 1
            limits = f" and -(1 << {bits}) <= {value} < 1 << {bits}"
        if plan.optional:
            return f"(({value} := {expression}) is None or type({value}) is {kind}{limits})"
        return f"type({value} := {expression}) is {kind}{limits}"

    def _bytes(self, plan: Plan, value: str) -> list[str]:
        """The bytes of a value that is there, as expressions, one after the other."""
        length = "ONE_BYTE[n] if (n := len({})) < 64 else number(n)"
        match plan.avro:
            case "string":
                return [length.format(f"b := {value}.encode()"), "b"]
            case "bytes":
                return [length.format(value), value]
            case "int" | "long":
                return [f"ONE_BYTE[{value}] if -64 <= {value} < 64 else number({value})"]
            case "double":
                return [f"double({value})"]
            case "boolean":
                return [rf"b'\x01' if {value} else b'\x00'"]
            case "record":
                self._names[f"encode_{value}"] = encoder(replace(plan, optional=False))
                return [f"encode_{value}({value})"]
            case _:
                self._names[f"encode_{value}"] = _item_encoder(plan)
                entries = f"{value}.items()" if plan.avro == "map" else value
                return [f"items({entries}, encode_{value})"]
