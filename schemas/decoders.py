"""Writes a function for each record that reads it from Avro bytes.

`schemas.records.FinishedTurn` gets this one:

    def decode(body, at):
        r0 = UnfrozenFinishedTurn()
        start = at + 1
        if (n := body[at]) & 129:
            n, start = read_length(body, at)
        at = start + (n >> 1)
        r0.turn_id = body[start:at].decode()
        if (n := body[at]) < 128:
            r0.message_seq = n >> 1 ^ -(n & 1)
            at += 1
        else:
            r0.message_seq, at = read_number(body, at)
        start = at + 1
        if (n := body[at]) & 129:
            n, start = read_length(body, at)
        at = start + (n >> 1)
        r0.outcome = body[start:at].decode()
        r0.__class__ = FinishedTurn
        value = r0
        return value, at

A length of one byte is even (odd ones are negative) and below 128. `at` never goes back, so a body
that breaks off ends in an `IndexError`, or with an end that is not its own.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from schemas.makers import unfrozen
from schemas.plans import Misfit, Plan
from schemas.varints import read_block, read_int32, read_length, read_number

Decode = Callable[[bytes, int], tuple[Any, int]]
"""Body and offset → the value and its end, which lies beyond the body's where that breaks off."""


def decoder(plan: Plan) -> Decode:
    """Raises `Misfit`, `IndexError`, `UnicodeDecodeError` or `struct.error` if there is none."""
    function = DecoderText()
    function.add(plan, "value")
    return function.compiled(plan.where)


def _item_decoder(plan: Plan) -> Decode:
    """The same for an item of an array, or for an entry of a map as a pair."""
    function = DecoderText()
    (item,) = plan.inside
    if plan.avro == "map":
        function.add(Plan("key", plan.where, "string", str), "key")
        function.result = "(key, value)"
    function.add(item, "value")
    return function.compiled(plan.where)


def _read_items(body: bytes, at: int, decode: Decode) -> tuple[list[Any], int]:
    """The items of all blocks, up to the empty one."""
    items: list[Any] = []
    while (head := body[at]) != 0:
        if head & 129:
            count, at, end = read_block(body, at)
        else:
            count, at, end = head >> 1, at + 1, None
        for _ in range(count):
            item, at = decode(body, at)
            items.append(item)
        if end is not None and end != at:
            raise Misfit("a block is not as long as it says")
    return items, at + 1


class DecoderText:
    """The text of one function while it grows, and the objects that it has names for."""

    def __init__(self) -> None:
        self.result = "value"
        self._lines: list[str] = []
        self._indent = "    "
        self._records = 0
        self._names: dict[str, Any] = {
            "Misfit": Misfit,
            "read_number": read_number,
            "read_int32": read_int32,
            "read_length": read_length,
            "read_double": Struct("<d").unpack_from,
            "read_items": _read_items,
        }

    def __str__(self) -> str:
        lines = "\n".join(self._lines)
        return f"def decode(body, at):\n{lines}\n    return {self.result}, at\n"

    def compiled(self, title: str) -> Decode:
        """The function; `title` is for profiles and tracebacks."""
        # The text is ours: classes and field names of our own dataclasses.
        exec(compile(str(self), f"<decoder of {title}>", "exec"), self._names)
        decode: Decode = self._names["decode"]
        return decode

    def add(self, plan: Plan, target: str) -> None:
        """Reads what comes next into `target`."""
        if not plan.optional:
            self._add_present(plan, target)
            return
        self._write("n = body[at]", "at += 1", "if n == 2:")
        self._indent += "    "
        self._add_present(plan, target)
        self._indent = self._indent[4:]
        self._write(
            "elif n == 0:",
            f"    {target} = None",
            "else:",
            "    raise Misfit('an optional value is neither there nor null')",
        )

    def _write(self, *lines: str) -> None:
        self._lines += [self._indent + line for line in lines]

    def _add_present(self, plan: Plan, target: str) -> None:
        match plan.avro:
            case "string":
                self._add_bytes(f"{target} = body[start:at].decode()")
            case "bytes":
                self._add_bytes(f"{target} = body[start:at]")
            case "int":
                self._add_number(target, "read_int32")
            case "long":
                self._add_number(target, "read_number")
            case "double":
                self._write(f"({target},) = read_double(body, at)", "at += 8")
            case "boolean":
                self._write(
                    "if (n := body[at]) > 1:", "    raise Misfit('a boolean is neither 0 nor 1')"
                )
                self._write(f"{target} = n == 1", "at += 1")
            case "record":
                self._add_record(plan, target)
            case _:
                decode = f"decode_{plan.name}_{len(self._names)}"
                self._names[decode] = _item_decoder(plan)
                self._write(f"items, at = read_items(body, at, {decode})")
                self._write(f"{target} = {plan.python.__name__}(items)")

    def _add_bytes(self, taking: str) -> None:
        self._write(
            "start = at + 1",
            "if (n := body[at]) & 129:",
            "    n, start = read_length(body, at)",
            "at = start + (n >> 1)",
            taking,
        )

    def _add_number(self, target: str, read: str) -> None:
        self._write(
            "if (n := body[at]) < 128:",
            f"    {target} = n >> 1 ^ -(n & 1)",
            "    at += 1",
            "else:",
            f"    {target}, at = {read}(body, at)",
        )

    def _add_record(self, plan: Plan, target: str) -> None:
        name, made = plan.python.__name__, f"r{self._records}"
        self._records += 1
        self._names |= {name: plan.python, f"Unfrozen{name}": unfrozen(plan.python)}
        self._write(f"{made} = Unfrozen{name}()")
        for field in plan.inside:
            self.add(field, f"{made}.{field.name}")
        self._write(f"{made}.__class__ = {name}", f"{target} = {made}")
