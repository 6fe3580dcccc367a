"""Hypothesis strategies for records, read off their type hints."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from schemas.types import AvroType

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[Any, SearchStrategy[Any]] = {
    str: st.text(max_size=40),
    int: INT64,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=64),
}


@cache
def any_record(record: type) -> SearchStrategy[Any]:
    """Every value that a record's types allow."""
    hints = get_type_hints(record, include_extras=True)
    return st.builds(record, **{f.name: _any(hints[f.name]) for f in dataclasses.fields(record)})


def _any(hint: Any) -> SearchStrategy[Any]:
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return INT32 if AvroType("int") in notes else _any(inner)
    if hint in PLAIN:
        return PLAIN[hint]
    if dataclasses.is_dataclass(hint):
        return any_record(hint)
    args = get_args(hint)
    if get_origin(hint) is tuple:
        return st.lists(_any(args[0]), max_size=3).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(max_size=10), _any(args[1]), max_size=3)
    (member,) = (arg for arg in args if arg is not type(None))
    return st.none() | _any(member)
