"""Every metric that is declared is also written: one that stays empty misleads who watches it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram
from test_structure import PACKAGES, modules, parsed

from infra.telemetry.metrics import Metrics

DECLARED = {
    name for name, held in vars(Metrics()).items() if isinstance(held, Counter | Gauge | Histogram)
}


def named(tree: ast.Module) -> Iterator[str]:
    """What is taken out of something that is called `metrics`, or ends so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name.endswith("metrics"):
                yield node.attr


def test_every_declared_metric_is_written_somewhere() -> None:
    users = [p for p in modules(*PACKAGES) if p.name != "metrics.py"]
    used = {name for path in users for name in named(parsed(path))}
    assert len(DECLARED) > 30
    assert DECLARED - used == set()
