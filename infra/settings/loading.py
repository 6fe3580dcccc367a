"""The one typed object that holds all settings, and how it is put together.

Later sources win: defaults, `stack.json` of the data folder, the settings file, the
environment, arguments of the caller.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from infra.settings import layers
from infra.settings.behaviour import (
    AnsweringSettings,
    AuthSettings,
    ConversationSettings,
    GatewaySettings,
    InferenceSettings,
    StageSettings,
    StateSettings,
    TelemetrySettings,
)
from infra.settings.connections import (
    ClickHouseSettings,
    KafkaSettings,
    KeySettings,
    RedisSettings,
    RegistrySettings,
)
from infra.settings.errors import SettingsInvalid
from infra.settings.listing import SettingRow, masked, rows
from infra.settings.section import setting

DEFAULT_DATA_DIR = Path("data")


class Settings(BaseSettings):
    """All settings of a process. Built directly, it reads nothing but its arguments.

    Paths that are not given lie in the data folder. `load_settings` reads the environment and
    the files.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        env_prefix=layers.PREFIX,
        env_nested_delimiter="__",
    )

    data_dir: Path = setting(DEFAULT_DATA_DIR, "folder of everything that a stack keeps")
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    redis: RedisSettings = RedisSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    keys: KeySettings = KeySettings()
    auth: AuthSettings = AuthSettings()
    gateway: GatewaySettings = GatewaySettings()
    conversation: ConversationSettings = ConversationSettings()
    answering: AnsweringSettings = AnsweringSettings()
    inference: InferenceSettings = InferenceSettings()
    state: StateSettings = StateSettings()
    stages: StageSettings = StageSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leaves reading the environment to `load_settings`, which remembers origins."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _place_paths(cls, given: Any) -> Any:
        """Puts every path that was not given into the data folder."""
        if not isinstance(given, dict):
            return given
        folder = Path(given.get("data_dir") or DEFAULT_DATA_DIR).expanduser().absolute()
        filled = {**given, "data_dir": folder}
        placed: dict[str, dict[str, Any]] = {
            "keys": {
                "url": f"sqlite:///{folder / 'keys.db'}",
                "master_key_file": folder / "master.key",
            },
            "auth": {"dev_secret_file": folder / "dev-secret"},
            "registry": {"cache_dir": folder / "registry-cache"},
            "state": {"dir": folder / "state"},
            "telemetry": {"trace_dir": folder / "traces"},
        }
        for section, paths in placed.items():
            values = filled.get(section, {})
            if isinstance(values, dict):
                given_values = {name: value for name, value in values.items() if value != ""}
                filled[section] = {**paths, **given_values}
        return filled

    def origin(self, path: str) -> str:
        """Where the value at `section.field` came from, such as `environment` or `default`."""
        return self._origins.get(path, "default")

    def masked(self) -> dict[str, Any]:
        """All values as plain data that can be printed: secrets appear as `***`."""
        return masked(self)

    def listing(self) -> list[SettingRow]:
        """One row per field for a table: path, masked value, unit, origin, description."""
        return rows(self, self._origins)


def load_settings(data_dir: Path | str | None = None, **overrides: Any) -> Settings:
    """Reads the settings of this process.

    `overrides` are nested (`kafka={"bootstrap_servers": …}`) or flat
    (`kafka__bootstrap_servers=…`); those that are None are left out. Raises `SettingsInvalid`,
    which names every wrong field and never shows a value.
    """
    _refuse_misspelt_environment()
    environment = layers.environment(Settings)
    named = overrides.pop("data_dir", None) or data_dir or environment.values.get("data_dir")
    file = layers.settings_file(Path(named or DEFAULT_DATA_DIR).expanduser().absolute())
    named = named or file.values.get("data_dir") or DEFAULT_DATA_DIR
    folder = Path(named).expanduser().absolute()
    values, origins = layers.merge(
        [
            layers.stack_addresses(folder),
            file,
            layers.well_known_environment(),
            environment,
            layers.arguments({**overrides, "data_dir": data_dir}),
        ]
    )
    try:
        settings = Settings(**{**values, "data_dir": folder})
    except ValidationError as error:
        raise SettingsInvalid(_problems(error, origins)) from None
    settings._origins.update(origins)
    return settings


def _refuse_misspelt_environment() -> None:
    """A section that does not exist would otherwise be ignored without a word."""
    sections = {name for name in Settings.model_fields if name != "data_dir"}
    problems = []
    for name in sorted(os.environ):
        if not name.startswith(layers.PREFIX):
            continue
        section, double, _ = name.removeprefix(layers.PREFIX).lower().partition("__")
        if double and section not in sections:
            problems.append(
                f"environment {name}: no section {section}{_nearest(section, sections)}"
            )
        elif not double and (head := section.split("_")[0]) in sections and "_" in section:
            right = f"{layers.PREFIX}{head}__{section.removeprefix(head + '_')}".upper()
            problems.append(f"environment {name}: write two underscores, {right}")
    if problems:
        raise SettingsInvalid(problems)


def _problems(error: ValidationError, origins: dict[str, str]) -> list[str]:
    problems = []
    for fault in error.errors(include_input=False, include_url=False):
        path = ".".join(str(part) for part in fault["loc"])
        origin = origins.get(path) or next(
            (found for leaf, found in origins.items() if leaf.startswith(path + ".")), "settings"
        )
        if fault["type"] == "extra_forbidden":
            section = ".".join(str(part) for part in fault["loc"][:-1])
            hint = _nearest(str(fault["loc"][-1]), _names(section))
            problems.append(f"{origin}: no setting {path}{hint}")
        else:
            problems.append(f"{origin}: {path}: {fault['msg']}")
    return problems


def _names(section: str) -> set[str]:
    if not section:
        return set(Settings.model_fields)
    annotation = Settings.model_fields[section].annotation
    return set(getattr(annotation, "model_fields", {}))


def _nearest(name: str, known: set[str]) -> str:
    """A hint: the known name that was meant, or all of them where none is alike."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
