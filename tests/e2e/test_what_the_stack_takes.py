"""What the whole stack is made of and what memory it takes, after customers have used it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from running_stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

MEMORY_BYTES_MAX = 2_500_000_000
"""What README asks for."""
PARTS = ("kafka", "registry", "redis", "worker-talk", "worker-think", "analytics", "gateway")
QUESTIONS = ("My card has not arrived yet", "And how long does that take?", "Is there a fee?")


def test_the_stack_stays_within_its_memory_and_tells_of_every_part(
    stack: RunningStack, tmp_path: Path
) -> None:
    file = tmp_path / "customers.jsonl"
    file.write_text("\n".join(json.dumps({"messages": QUESTIONS}) for _ in range(40)))
    done = stack.parley("import", str(file), "--format", "jsonl", "--json", timeout_s=300)
    assert (done.code, done.json["completed"]) == (0, 120), done.err

    answered = stack.parley("status", "--json")
    assert answered.code == 0, answered.err
    parts = {part["name"]: part for part in answered.json["parts"]}
    assert tuple(parts) == PARTS
    for name, part in parts.items():
        assert part["state"] == "ready", name
        assert part["address"].rpartition(":")[2].split("/")[0].isdigit(), name
        assert part["version"][-1].isdigit(), name
        assert time.time() - 24 * 3600 < part["started_at"] < time.time(), name
        assert part["memory_bytes"] > 1_000_000, name
    total = sum(part["memory_bytes"] for part in parts.values())
    assert total == answered.json["memory_bytes"] < MEMORY_BYTES_MAX, {
        name: part["memory_bytes"] for name, part in parts.items()
    }
