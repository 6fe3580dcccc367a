"""A Kafka, a registry and a Redis of the benchmarks' own, gone when they are done."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.kafka_admin import apply_topics
from infra.local import Stack
from infra.schema_registry import SchemaRegistry
from schemas.topics import TOPICS


@contextmanager
def fresh_broker() -> Iterator[dict[str, str]]:
    """Addresses as in `stack.json`; topics and schemas are applied."""
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as name:
        folder = Path(name) / "data"
        stack = Stack(folder)
        argv = [sys.executable, "-m", "infra.local", "--data", str(folder)]
        stack.detach(argv, tied=True)
        try:
            addresses = stack.addresses()
            apply_topics(addresses["kafka"], {}, TOPICS)
            SchemaRegistry(addresses["registry"]).register(TOPICS)
            yield addresses
        finally:
            stack.stop()
