"""Showing settings to people: every secret masked, every value with where it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr

MASK = "***"
SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|secret|token|jaas|credential|user[._]info|api.?key"
    r"|ssl[._](key|certificate|keystore)[._]?(pem)?$|key[._]pem",
    re.I,
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*@")
_QUERY_SECRET = re.compile(r"(?<=[?&])([^=&]*(?:pass|secret|token|key)[^=&]*)=[^&]*", re.I)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One field, ready to be printed."""

    path: str
    value: str
    unit: str
    origin: str
    description: str


def masked(settings: BaseModel) -> dict[str, Any]:
    """The settings as plain data for JSON, with `***` for every secret."""
    return {name: _masked(name, getattr(settings, name)) for name in type(settings).model_fields}


def rows(settings: BaseModel, origins: dict[str, str]) -> list[SettingRow]:
    """One row per field, in the order of declaration."""
    found = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found += [
                _row(value, inner, f"{name}.{inner}", origins) for inner in type(value).model_fields
            ]
        else:
            del field
            found.append(_row(settings, name, name, origins))
    return found


def _row(owner: BaseModel, name: str, path: str, origins: dict[str, str]) -> SettingRow:
    field = type(owner).model_fields[name]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    inner = [origin for leaf, origin in origins.items() if leaf.startswith(path + ".")]
    return SettingRow(
        path=path,
        value=_printed(_masked(name, getattr(owner, name))),
        unit=str(extra.get("unit", "")),
        origin=origins.get(path) or " + ".join(dict.fromkeys(inner)) or "default",
        description=field.description or "",
    )


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return masked(value)
    if isinstance(value, dict):
        # Any header may be what opens a door, whatever its name.
        secret = name == "headers"
        return {inner: MASK if secret else _masked(inner, held) for inner, held in value.items()}
    if isinstance(value, tuple):
        return [_masked(name, held) for held in value]
    if isinstance(value, int | float | bool) or value is None:
        return value
    if SECRET_NAME.search(name) and not name.endswith(("_file", ".location")):
        return MASK
    return _QUERY_SECRET.sub(rf"\1={MASK}", _USER_INFO.sub(f"{MASK}@", str(value)))


def _printed(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{name}={held}" for name, held in value.items())
    if isinstance(value, list):
        return ", ".join(str(held) for held in value)
    return str(value)
