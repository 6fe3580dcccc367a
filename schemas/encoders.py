"""Writes a function for each record that checks a value and turns it into Avro bytes.

`schemas.records.FinishedTurn` gets this one:

    def encode(value):
        if not (
            type(v0 := value) is FinishedTurn
            and type(v1 := v0.turn_id) is str
            and type(v2 := v0.message_seq) is int
            and type(v3 := v0.outcome) is str
        ):
            raise Misfit
        return join((
            SHORT[n] if (n := len(b := v1.encode())) < 8192 else number(n),
            b,
            SHORT[v2] if -8192 <= v2 < 8192 else number(v2),
            SHORT[n] if (n := len(b := v3.encode())) < 8192 else number(n),
            b,
        ))

A record inside a record is written in place. What may be there never or many times, in an optional
field, an array or a map, is left to a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from struct import Struct
from typing import Any

from schemas.plans import Misfit, Plan
from schemas.varints import SHORT, SHORT_END, number, number32

Encode = Callable[[Any], bytes]

_NO_MORE = b"\x00"
_LENGTH = f"SHORT[n] if (n := len({{}})) < {SHORT_END} else number(n)"


def encoder(plan: Plan) -> Encode:
    """Raises `Misfit`, `AttributeError` or `UnicodeEncodeError`, without a word of explanation."""
    function = EncoderText()
    function.add(plan, "value")
    return function.compiled(plan.where)


def _items_encoder(plan: Plan) -> Encode:
    """The same for all items of an array, or for the entries of a map as pairs."""
    function = ItemsEncoderText()
    (item,) = plan.inside
    if plan.avro == "map":
        function.add(Plan("key", plan.where, "string", str), "value[0]")
        function.add(item, "value[1]")
    else:
        function.add(item, "value")
    return function.compiled(plan.where)


class EncoderText:
    """The text of one function while it grows, and the objects that it has names for."""

    def __init__(self) -> None:
        self._checks: list[str] = []
        self._parts: list[str] = []
        self._names: dict[str, Any] = {
            "Misfit": Misfit,
            "SHORT": SHORT,
            "number": number,
            "number32": number32,
            "double": Struct("<d").pack,
            "join": b"".join,
            "NO_MORE": _NO_MORE,
        }

    def __str__(self) -> str:
        return (
            f"def encode(value):\n{self._refusal('    ')}    return join({self._tuple('    ')})\n"
        )

    def _refusal(self, indent: str) -> str:
        checks = f"\n{indent}    and ".join(self._checks)
        return f"{indent}if not (\n{indent}    {checks}\n{indent}):\n{indent}    raise Misfit\n"

    def _tuple(self, indent: str) -> str:
        parts = "".join(f"{indent}    {part},\n" for part in self._parts)
        return f"(\n{parts}{indent})"

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
        if plan.optional:
            return f"(({value} := {expression}) is None or type({value}) is {kind})"
        return f"type({value} := {expression}) is {kind}"

    def _bytes(self, plan: Plan, value: str) -> list[str]:
        """The bytes of a value that is there, as expressions, one after the other."""
        match plan.avro:
            case "string":
                return [_LENGTH.format(f"b := {value}.encode()"), "b"]
            case "bytes":
                return [_LENGTH.format(value), value]
            case "int" | "long":
                longer = "number32" if plan.avro == "int" else "number"
                short = f"-{SHORT_END} <= {value} < {SHORT_END}"
                return [f"SHORT[{value}] if {short} else {longer}({value})"]
            case "double":
                return [f"double({value})"]
            case "boolean":
                return [rf"b'\x01' if {value} else b'\x00'"]
            case "record":
                self._names[f"encode_{value}"] = encoder(replace(plan, optional=False))
                return [f"encode_{value}({value})"]
            case _:
                self._names[f"encode_{value}"] = _items_encoder(plan)
                return [f"encode_{value}({value}{'.items()' if plan.avro == 'map' else ''})"]


class ItemsEncoderText(EncoderText):
    """The same with a loop around it: all items in one block, and the sign that no other follows.

    def encode(values):
        if not values:
            return NO_MORE
        parts = [SHORT[n] if (n := len(values)) < 8192 else number(n)]
        for value in values:
            if not (type(v0 := value) is int):
                raise Misfit
            parts += (SHORT[v0] if -8192 <= v0 < 8192 else number(v0),)
        parts.append(NO_MORE)
        return join(parts)
    """

    def __str__(self) -> str:
        return (
            "def encode(values):\n"
            "    if not values:\n"
            "        return NO_MORE\n"
            f"    parts = [{_LENGTH.format('values')}]\n"
            "    for value in values:\n"
            f"{self._refusal('        ')}"
            f"        parts += {self._tuple('        ')}\n"
            "    parts.append(NO_MORE)\n"
            "    return join(parts)\n"
        )
