"""The parts that every stack begins with, in the order of their needs."""

from __future__ import annotations

from infra.local.artifacts import Artifacts
from infra.local.kafka import kafka
from infra.local.part import PartFactory
from infra.local.redis import redis
from infra.local.registry import registry


def three_parts(artifacts: Artifacts) -> list[PartFactory]:
    """Kafka, the registry and Redis."""
    return [kafka(artifacts), registry(artifacts), redis()]
