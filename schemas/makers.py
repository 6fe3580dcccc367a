"""Functions that make records several times faster than their classes do.

A frozen dataclass sets every field by `object.__setattr__`, which is most of a record's price.
What is made here is the same frozen record; only the way to it is shorter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_ABSENT = object()


def maker(record: Callable[P, R]) -> Callable[P, R]:
    """A function that takes what the record's class takes, and gives what it gives.

    It fills an instance of a twin class, which has the same slots and is not frozen, and then
    makes that instance one of the record's: nobody else ever sees it while it can be changed.
    Raises `TypeError` for what is no plain frozen record of slots.
    """
    cls = _plain(record)
    names: dict[str, Any] = {
        "twin": type(cls.__name__, (), {"__slots__": cls.__slots__}),
        "record": cls,
        "absent": _ABSENT,
    }
    parameters, stores = [], []
    for n, field in enumerate(dataclasses.fields(cls)):
        parameter, value = field.name, field.name
        if field.default is not dataclasses.MISSING:
            names[f"d{n}"] = field.default
            parameter += f"=d{n}"
        elif field.default_factory is not dataclasses.MISSING:
            names[f"d{n}"] = field.default_factory
            parameter, value = f"{parameter}=absent", f"d{n}() if {value} is absent else {value}"
        parameters.append(parameter)
        stores.append(f"    made.{field.name} = {value}")
    source = [
        f"def make({', '.join(parameters)}):",
        "    made = twin()",
        *stores,
        "    made.__class__ = record",
        "    return made",
    ]
    exec("\n".join(source), names)  # the text is ours: field names of our own dataclasses
    make: Callable[P, R] = names["make"]
    return make


def _plain(record: Any) -> type[Any]:
    """The record, if it does nothing at its making but to set its fields."""
    parameters = getattr(record, "__dataclass_params__", None)
    if not (
        isinstance(record, type)
        and record.__bases__ == (object,)
        and parameters is not None
        and parameters.frozen
        and parameters.init
        and "__slots__" in vars(record)
        and not hasattr(record, "__post_init__")
        and all(f.init and not f.kw_only for f in dataclasses.fields(record))
    ):
        raise TypeError(f"{record!r} is no plain frozen dataclass with slots: call it itself")
    return record
