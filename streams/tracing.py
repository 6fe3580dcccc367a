"""Spans of stages: one for each record that a stage handles, under the record's own trace."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from infra.telemetry import names
from infra.telemetry.tracing import Tracing
from schemas.commands import Command
from schemas.events import Event

R = TypeVar("R", bound=Command | Event)


def traced(record: R, stage: str, tracing: Tracing, spans: ExitStack) -> R:
    """Opens a span for the record, and gives the record with that span as its trace context.

    So whatever is derived from the record hangs under the span.
    """
    envelope = record.envelope
    span = tracing.span(
        f"{stage} {type(record).__name__}",
        envelope.traceparent,
        {
            names.STAGE: stage,
            names.RECORD: type(record).__name__,
            names.TENANT: envelope.tenant_id,
            names.CONVERSATION: envelope.conversation_id,
        },
        "consumer",
    )
    spans.enter_context(span)
    return replace(record, envelope=replace(envelope, traceparent=span.traceparent))  # type: ignore[arg-type]
