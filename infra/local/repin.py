"""Writes `pins.json`: the exact files of Kafka and of the registry, with their digests.

Run `python -m infra.local.repin` after changing a version below; fetching only reads its result.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jgo
from jgo.maven import MavenContext

from infra.local.maven import artifact_of
from infra.local.pins import PINS_PATH

KAFKA = "4.3.1"
REGISTRY = "3.3.3"

LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:jar::2.24.3"
"""Kafka's POM leaves the choice of a logger to its distribution; without one it logs nothing."""


def _pin(context: Any, coordinate: str) -> dict[str, object]:
    path = artifact_of(context, coordinate).resolve()
    return {
        "coordinate": coordinate,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size_bytes": path.stat().st_size,
    }


def _kafka() -> list[str]:
    resolved = jgo.resolve(f"org.apache.kafka:kafka_2.13:{KAFKA}")
    jars = [f"{jar.groupId}:{jar.artifactId}:jar::{jar.version}" for jar in resolved]
    return sorted([*jars, LOGGING])


def main() -> None:
    """Resolves both from Maven's repository and writes the pins beside this module."""
    context = MavenContext()
    registry = [f"io.apicurio:apicurio-registry-app:tar.gz:all:{REGISTRY}"]
    pins = {
        "kafka": {"version": KAFKA, "files": [_pin(context, each) for each in _kafka()]},
        "registry": {"version": REGISTRY, "files": [_pin(context, each) for each in registry]},
    }
    PINS_PATH.write_text(json.dumps(pins, indent=1) + "\n")


if __name__ == "__main__":
    main()
