"""Functions that make records several times faster than their classes do.

A frozen dataclass sets every field by `object.__setattr__`, which is most of a record's price.
What is made here is the same frozen record; only the way to it is shorter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_ABSENT = object()


def maker(record: Callable[P, R]) -> Callable[P, R]:
    """A function that takes what the record's class takes, and gives what it gives.

    It fills an instance of the unfrozen class, which then becomes one of the record's: nobody
    else ever sees it while it can be changed. Raises `TypeError` for what `unfrozen` refuses.
    """
    # Underscores keep our names apart from those of the record's fields.
    names: dict[str, Any] = {"_unfrozen": unfrozen(record), "_record": record, "_absent": _ABSENT}
    parameters, stores = [], []
    for n, field in enumerate(dataclasses.fields(names["_record"])):
        parameter = value = field.name
        if field.default is not dataclasses.MISSING:
            names[f"_d{n}"] = field.default
            parameter = f"{field.name}=_d{n}"
        elif field.default_factory is not dataclasses.MISSING:
            names[f"_d{n}"] = field.default_factory
            parameter = f"{field.name}=_absent"
            value = f"_d{n}() if {field.name} is _absent else {field.name}"
        parameters.append(parameter)
        stores.append(f"    _made.{field.name} = {value}")
    source = [
        f"def make({', '.join(parameters)}):",
        "    _made = _unfrozen()",
        *stores,
        "    _made.__class__ = _record",
        "    return _made",
    ]
    exec("\n".join(source), names)  # the text is ours: field names of our own dataclasses
    make: Callable[P, R] = names["make"]
    return make


@cache
def unfrozen(record: Any) -> type[Any]:
    """A class whose slots are the record's and can be set; not to be let out of one's hands.

    Setting an instance's `__class__` to the record makes it one of the record's. `TypeError`
    for a class that does more at its making than to set its slots.
    """
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
    return type(record.__name__, (), {"__slots__": vars(record)["__slots__"]})
