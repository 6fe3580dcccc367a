"""The two slices around the models: from messages to texts, and from verdicts to commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from processors.analysis.redaction import Redaction, redact
from schemas.commands import RecordAnalysis
from schemas.envelope import CommandEnvelope, Sealed
from schemas.events import MessageReceived
from schemas.identifiers import internal_command_id
from schemas.parts import Finding, Inference

ORIGIN = "analysis"


@dataclass(frozen=True, slots=True)
class Reading:
    """A message that was opened and redacted, on its way through the models."""

    message: MessageReceived
    redaction: Redaction
    command_id: str


def prepare(message: MessageReceived, text: str) -> Reading:
    """Redacts a message's text. Models see `Reading.redaction.text`, never the original."""
    envelope = message.envelope
    command_id = internal_command_id(
        envelope.tenant_id, envelope.conversation_id, ORIGIN, envelope.event_id, "record"
    )
    return Reading(message, redact(text), command_id)


def interpret(
    reading: Reading,
    redacted: Sealed,
    inferences: Sequence[Inference],
    now_us: int,
    degraded: tuple[str, ...] = (),
) -> RecordAnalysis:
    """The command that records what the models said about a message."""
    event = reading.message.envelope
    envelope = CommandEnvelope(
        command_id=reading.command_id,
        tenant_id=event.tenant_id,
        conversation_id=event.conversation_id,
        issued_at=now_us,
        origin=ORIGIN,
        causation_id=event.event_id,
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        actor=ORIGIN,
        body_hmac=None,
    )
    return RecordAnalysis(
        envelope,
        message_seq=event.seq,
        mid=reading.message.mid,
        redacted=redacted,
        findings=findings(reading.redaction),
        inferences=tuple(inferences),
        degraded=degraded,
    )


def findings(redaction: Redaction) -> tuple[Finding, ...]:
    """The findings as the log records them: kinds and places, never the values."""
    return tuple(
        Finding(str(f.kind), f.start, f.end, str(f.kind).lower(), f.confidence)
        for f in redaction.findings
    )
