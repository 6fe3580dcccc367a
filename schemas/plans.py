"""What the places in a record take: the description that its encoder and decoder are written from.

The written code only finds that something does not fit; `check` finds out where, and says so.
"""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from schemas.avro_types import field_type, type_names

BITS = {"int": 32, "long": 64}
"""How much Avro's whole numbers hold."""

_PYTHON_TYPES: dict[str, type] = {
    **{name: python for python, name in type_names.items()},
    "int": int,
    "array": tuple,
    "map": dict,
}


class Misfit(Exception):
    """A value is not of its field's type, or bytes are no such value."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What one place takes: a whole record, a field, or an item of an array or a map.

    `where` names the place in refusals. `avro` is its Avro type and `python` the only type that
    its values have, besides None where it is `optional`. `inside` holds the plans of a record's
    fields, or that of the items.
    """

    name: str
    where: str
    avro: str
    python: type
    optional: bool = False
    inside: tuple[Plan, ...] = ()


def record_plan(record: type) -> Plan:
    """The plan of a record's class."""
    hints = get_type_hints(record, include_extras=True)
    inside = tuple(
        _plan(f.name, f"{record.__name__}.{f.name}", hints[f.name])
        for f in dataclasses.fields(record)
    )
    return Plan(record.__name__, record.__name__, "record", record, inside=inside)


def _plan(name: str, where: str, hint: Any) -> Plan:
    avro = field_type(hint, set())[0]
    optional = isinstance(avro, list)
    if optional:
        avro = avro[1]
        hint = next(a for a in _bare(hint).__args__ if a is not type(None))
    kind = avro["type"] if isinstance(avro, dict) else avro
    hint = _bare(hint)
    if kind == "record":
        return dataclasses.replace(record_plan(hint), name=name, where=where, optional=optional)
    inside: tuple[Plan, ...] = ()
    if kind in ("array", "map"):
        inside = (_plan(name, where, hint.__args__[1 if kind == "map" else 0]),)
    return Plan(name, where, kind, _PYTHON_TYPES[kind], optional, inside)


def _bare(hint: Any) -> Any:
    """A hint without its `Annotated` wrappings."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    return hint


def check(plan: Plan, value: Any) -> None:
    """Raises `Misfit` if `value` does not fit: it names the place and quotes no text."""
    if plan.optional and value is None:
        return
    if type(value) is not plan.python:
        wanted = plan.python.__name__ + (" or NoneType" if plan.optional else "")
        raise Misfit(f"{plan.where} takes {wanted}, not {type(value).__name__}")
    _check_content(plan, value)


def _check_content(plan: Plan, value: Any) -> None:
    match plan.avro:
        case "int" | "long":
            bits = BITS[plan.avro]
            if not -(1 << bits - 1) <= value < 1 << bits - 1:
                raise Misfit(f"{plan.where} takes {bits} bits, {value} needs more")
        case "string":
            _check_text(plan, value)
        case "record":
            for field in plan.inside:
                check(field, getattr(value, field.name))
        case "array":
            for item in value:
                check(plan.inside[0], item)
        case "map":
            for key, item in value.items():
                _check_text(plan, key)
                check(plan.inside[0], item)


def _check_text(plan: Plan, value: Any) -> None:
    if type(value) is not str:
        raise Misfit(f"{plan.where} takes keys of type str")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # The error itself holds the whole text, so only its reason is passed on.
        raise Misfit(f"{plan.where} can't be UTF-8: {error.reason}") from None
