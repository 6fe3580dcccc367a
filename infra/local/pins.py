"""Which files the programs of the stack consist of: the content of `pins.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PINS_PATH = Path(__file__).with_name("pins.json")


@dataclass(frozen=True, slots=True)
class Pin:
    """One file of Maven's repository: `group:name:packaging:classifier:version` and its digest."""

    coordinate: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """All files of one program at one version."""

    name: str
    version: str
    files: tuple[Pin, ...]


def distributions() -> tuple[Distribution, Distribution]:
    """The pinned files of Kafka and of the registry."""
    pins = json.loads(PINS_PATH.read_bytes())
    kafka, registry = (
        Distribution(
            name, pins[name]["version"], tuple(Pin(**file) for file in pins[name]["files"])
        )
        for name in ("kafka", "registry")
    )
    return kafka, registry
