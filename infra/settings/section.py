"""The shape of one group of settings: typed, frozen, and with a sentence and a unit per field."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode


class Section(BaseModel):
    """A group of settings. Unknown names are refused, and inputs stay out of error messages."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        protected_namespaces=(),
    )


def setting(default: Any, description: str, unit: str = "", **constraints: Any) -> Any:
    """One field: its default, what it does, and the unit it is given in ("" for none).

    `constraints` are pydantic's (`ge`, `le`, `pattern`, …).
    """
    if isinstance(default, dict):
        value = dict(default)
        constraints["default_factory"] = lambda: dict(value)
    else:
        constraints["default"] = default
    return Field(description=description, json_schema_extra={"unit": unit}, **constraints)


def split_words(given: Any) -> Any:
    """Turns `a,b` or a JSON list into a list; leaves anything but a string alone."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        return json.loads(given)
    return [word.strip() for word in given.split(",") if word.strip()]


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]
"""Several words; from the environment as `a,b` or as JSON."""
