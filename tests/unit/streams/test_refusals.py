"""What the conversation refuses is counted once, when the refusal is in the log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "processors" / "conversation"))

import pytest
from conversation_parts import FIRST, deliveries, transform
from conversation_story import ANSWERED, START_US, STRANGER, TENANT, cancels, rates, says

from infra.telemetry.metrics import Metrics
from streams.conversation_stage import ConversationTransform
from streams.transactional_stage import Output


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def stage(metrics: Metrics) -> ConversationTransform:
    return transform(lambda tenant, code: metrics.rejected.labels(tenant, code).inc())


def decided(stage: ConversationTransform, *commands: Any) -> Any:
    """What the stage notes of a batch that is not committed yet."""

    def send(*record: Any) -> None:
        """The log takes it."""

    return stage.apply(
        {FIRST: deliveries(*commands)}, START_US, Output(send, lambda delivery, error: None)
    )


def refused(metrics: Metrics, code: str) -> float | None:
    labels = {"tenant": TENANT, "code": code}
    return metrics.registry.get_sample_value("parley_rejected_commands_total", labels)


def test_refusals_are_counted_by_tenant_and_code(
    stage: ConversationTransform, metrics: Metrics
) -> None:
    strangers = [says(f"s-{n}", actor=STRANGER) for n in range(3)]
    stage.committed(decided(stage, *ANSWERED, *strangers, cancels(40), rates(2)))
    assert refused(metrics, "forbidden") == 3
    assert refused(metrics, "unknown_turn") == 1


def test_a_batch_that_is_rolled_back_and_read_again_counts_once(
    stage: ConversationTransform, metrics: Metrics
) -> None:
    commands = (*ANSWERED, says("s-1", actor=STRANGER))
    decided(stage, *commands)
    assert refused(metrics, "forbidden") is None
    stage.committed(decided(stage, *commands))
    assert refused(metrics, "forbidden") == 1
