"""Options that pass through to a client library, and what one variable of the environment says.

TOML and JSON have types; a variable has none, and client libraries want a number for a number.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from infra.settings.listing import SECRET_NAME

Scalar = str | int | float | bool

_TEXTS = frozenset(
    {"username", "user", "user_name", "database", "client_name", "lib_name", "lib_version"}
)


def holds_text(name: str) -> bool:
    """Whether an option is text even where it looks like a number: credentials and names."""
    return name in _TEXTS or SECRET_NAME.search(name) is not None


def _text_stays_text(given: Any) -> Any:
    """Turns the password 1234 of a file back into text, which is also how it gets masked."""
    if not isinstance(given, dict):
        return given
    return {
        name: str(value)
        if holds_text(str(name)) and isinstance(value, int | float) and not isinstance(value, bool)
        else value
        for name, value in given.items()
    }


_PASSED_ON = BeforeValidator(_text_stays_text)
ClientOptions = Annotated[dict[str, Scalar], _PASSED_ON]
NestedClientOptions = Annotated[dict[str, Scalar | dict[str, Scalar]], _PASSED_ON]
"""For a library that takes groups as well, such as `settings` and `headers` of ClickHouse."""


def as_said(name: str, written: str) -> Scalar:
    """A variable's text as the JSON scalar that it spells, else as the text that it is.

    In double quotes a number is text; what `holds_text` says is never anything else.
    """
    if holds_text(name):
        return written
    if written.lower() in ("true", "false"):
        return written.lower() == "true"
    try:
        said = json.loads(written, parse_constant=_refuse)
    except ValueError:
        return written
    return said if isinstance(said, str | int | float) else written


def read_variables(
    values: Mapping[str, Any], settings: type[BaseModel], prefix: str, variables: Container[str]
) -> None:
    """Reads, in place, every option that has a variable of its own.

    `variables` are the names of the environment in small letters. Options that come together, as
    JSON in one variable, have the types that JSON gave them.
    """
    for section, field in _option_fields(settings):
        given = values.get(section)
        options = given.get(field) if isinstance(given, dict) else None
        if not isinstance(options, dict):
            continue
        for name, written in options.items():
            if isinstance(written, str) and f"{prefix}{section}__{field}__{name}" in variables:
                options[name] = as_said(name, written)


def _option_fields(settings: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for section, outer in settings.model_fields.items():
        for field, inner in getattr(outer.annotation, "model_fields", {}).items():
            if _PASSED_ON in inner.metadata:
                yield section, field


def _refuse(constant: str) -> Any:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(constant)
