"""Where settings come from: environment, settings file, a running stack's addresses, arguments.

Each source becomes a layer of nested values; `merge` lays them over each other and remembers
which layer every value came from. Checking types and names is left to `Settings`.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from infra.settings.errors import SettingsInvalid
from infra.settings.options import read_variables

PREFIX = "PARLEY_"
WELL_KNOWN = {
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "SCHEMA_REGISTRY_URL": ("registry", "url"),
    "REDIS_URL": ("redis", "url"),
    "CLICKHOUSE_URL": ("clickhouse", "url"),
    "KEY_STORE_URL": ("keys", "url"),
}
"""Environment variables without our prefix; the prefixed name of the same field goes first."""
STACK_FIELDS = {
    "kafka": ("kafka", "bootstrap_servers"),
    "registry": ("registry", "url"),
    "redis": ("redis", "url"),
    "clickhouse": ("clickhouse", "url"),
    "gateway": ("gateway", "url"),
}
"""Where the addresses of `stack.json` belong."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one source, nested as sections and fields."""

    origin: str
    values: dict[str, Any]


def environment(settings: type[BaseSettings]) -> Layer:
    """`PARLEY_<SECTION>__<FIELD>`, and `PARLEY_DATA_DIR`."""
    source = EnvSettingsSource(settings, env_prefix=PREFIX, env_nested_delimiter="__")
    try:
        values = dict(source())
    except SettingsError as error:
        # The cause names the field; the value may be a secret and stays out.
        raise SettingsInvalid(
            [f"environment: {error}; structured values are written as JSON"]
        ) from None
    read_variables(values, settings, PREFIX.lower(), source.env_vars)
    return Layer("environment", values)


def well_known_environment() -> Layer:
    """The names that other tools use as well, such as `KAFKA_BOOTSTRAP_SERVERS`."""
    values: dict[str, Any] = {}
    for name, (section, field) in WELL_KNOWN.items():
        if given := os.environ.get(name):
            values.setdefault(section, {})[field] = given
    return Layer("environment", values)


def settings_file(data_dir: Path) -> Layer:
    """`PARLEY_SETTINGS`, else `settings.toml` in the data folder, else nothing."""
    named = os.environ.get("PARLEY_SETTINGS")
    path = Path(named).expanduser() if named else data_dir / "settings.toml"
    if not named and not path.is_file():
        return Layer(f"file {path}", {})
    try:
        return Layer(f"file {path}", tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsInvalid(
            [f"settings file {path} cannot be read ({reason}): correct PARLEY_SETTINGS"]
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid([f"settings file {path} is not TOML: {error}"]) from None


def stack_addresses(data_dir: Path) -> Layer:
    """The addresses of the embedded stack that runs in this data folder, if one does."""
    path = data_dir / "stack.json"
    values: dict[str, Any] = {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Layer("stack.json", values)
    except NotADirectoryError:
        raise SettingsInvalid(
            [f"{data_dir} is no folder: give the one that a stack is to use"]
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsInvalid(
            [f"{path} cannot be read ({type(error).__name__}): restart the stack with parley up"]
        ) from None
    if not isinstance(found, dict):
        raise SettingsInvalid([f"{path} is not an object: restart the stack with parley up"])
    for part, (section, field) in STACK_FIELDS.items():
        if isinstance(address := found.get(part), str):
            values.setdefault(section, {})[field] = address
    return Layer("stack.json", values)


def arguments(given: dict[str, Any]) -> Layer:
    """Overrides of the caller: nested, or as `kafka__bootstrap_servers=…`."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        section, _, field = name.partition("__")
        _lay_over(values, {section: {field: value}} if field else {section: value}, "", {}, "")
    return Layer("argument", values)


def merge(layers: list[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Lays later layers over earlier ones; returns the values and the origin of each leaf."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _lay_over(values, layer.values, "", origins, layer.origin)
    return values, origins


def _lay_over(
    below: dict[str, Any], above: dict[str, Any], path: str, origins: dict[str, str], origin: str
) -> None:
    for name, value in above.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            if not isinstance(below.get(name), dict):
                below[name] = {}
            _lay_over(below[name], value, here, origins, origin)
        else:
            below[name] = value
            origins[here] = origin
