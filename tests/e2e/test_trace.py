"""One message's way through every process is one trace, whose spans all lead up to the gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from running_stack import RunningStack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

STAGES = {"gateway", "conversation", "analysis", "answering", "redis", "clickhouse"}
"""The first word of a span's name."""

Span = dict[str, Any]


def stage_of(span: Span) -> str:
    return str(span["name"]).partition(" ")[0]


def spans_of(stack: RunningStack, message: str) -> list[Span]:
    answered = stack.parley("trace", message, "--json")
    return [json.loads(line) for line in answered.out.splitlines()]


def ancestors(span: Span, by_id: dict[str, Span]) -> list[str]:
    """The stages above a span, the nearest first."""
    above = []
    while span["parent_id"]:
        span = by_id[span["parent_id"]]
        above.append(stage_of(span))
    return above


def test_a_message_leaves_one_trace_from_the_gateway_to_clickhouse(stack: RunningStack) -> None:
    said = stack.parley("say", "How do I change my PIN?", "--json")
    assert said.code == 0, said.err
    message, found = said.json["message"], []

    def arrived() -> bool:
        """Each process writes its spans when it likes, ClickHouse's comes after its next insert."""
        found[:] = spans_of(stack, message)
        ids = {span["span_id"] for span in found}
        whole = all(span["parent_id"] in ids | {""} for span in found)
        return whole and {stage_of(span) for span in found} >= STAGES

    wait_for(arrived, "spans of every stage")
    assert len({span["trace_id"] for span in found}) == 1
    by_id = {span["span_id"]: span for span in found}
    [root] = [span for span in found if not span["parent_id"]]
    assert root["name"] == "gateway send"
    assert root["attributes"]["parley.message_id"] == message
    above = {span["name"]: ancestors(span, by_id) for span in found}
    assert above["conversation SubmitMessage"] == ["gateway"]
    assert above["analysis MessageReceived"] == ["conversation", "gateway"]
    assert above["answering turn"][-2:] == ["conversation", "gateway"]
    assert above["conversation CompleteTurn"][0] == "answering"
    assert {"redis TurnCompleted", "clickhouse TurnCompleted"} <= set(above)
    assert all(span["start_ns"] >= root["start_ns"] for span in found)


def test_a_message_that_nobody_sent_has_no_trace(stack: RunningStack) -> None:
    answered = stack.parley("trace", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--json")
    assert (answered.code, answered.out) == (1, "")
    assert "no span of 01ARZ3NDEKTSV4RRFFQ69G5FAV" in answered.err
