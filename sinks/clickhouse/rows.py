"""From an event to its row, and to the row of its text. Pure, but for the texts it is given.

The raw message is never opened: only redacted texts and answers, which are redacted as well,
become rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, assert_never

from schemas.envelope import Envelope, Sealed
from schemas.events import (
    CommandRejected,
    ConversationClosed,
    ConversationStarted,
    Event,
    FeedbackReceived,
    MessageAnalysed,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRefused,
    TurnRestarted,
    TurnStarted,
)
from schemas.failures import Invalid
from schemas.parts import Citation, Finding, Inference
from sinks.clickhouse.columns import Row
from sinks.port import Delivery

OpenText = Callable[[Sealed, str, str], str | None]
"""The text of a blob of a tenant's conversation; None once its key is gone.

Raises `Unavailable` while the key store is away.
"""
PrefetchKeys = Callable[[Iterable[tuple[str, Sealed]]], None]
"""Gets the keys of many blobs, each with its tenant, before they are opened.

Raises `Unavailable` while the key store is away.
"""
RetentionDays = Callable[[str], int]
"""How long a tenant keeps texts, in days."""

_NANO = -9


def event_row(delivery: Delivery) -> Row:
    """The row of an event. Raises `Invalid` if it is none."""
    event = delivery.record
    envelope = getattr(event, "envelope", None)
    if not isinstance(envelope, Envelope):
        raise Invalid("no_event", f"{type(event).__name__} has no place in the table of events")
    return {
        "tenant_id": envelope.tenant_id,
        "conversation_id": envelope.conversation_id,
        "seq": envelope.seq,
        "event_type": type(event).__name__,
        "event_id": _uuid(envelope.event_id),
        "occurred_at": envelope.occurred_at,
        "command_id": _uuid(envelope.command_id),
        "causation_id": envelope.causation_id or "",
        "correlation_id": envelope.correlation_id,
        "traceparent": envelope.traceparent or "",
        "actor": envelope.actor,
        **_fields(event),
        "kafka_topic": delivery.topic,
        "kafka_partition": delivery.partition,
        "kafka_offset": delivery.offset,
        "schema_id": delivery.schema_id,
    }


def redacted_text(event: Event) -> Sealed | None:
    """The text of an event that becomes a row, still sealed; None if it has none.

    What a person wrote is never one, only what was redacted since.
    """
    match event:
        case MessageAnalysed():
            return event.redacted
        case TurnCompleted():
            return event.text
        case ConversationStarted() | MessageReceived() | ConversationClosed():
            return None
        case TurnStarted() | TurnRefused() | TurnRestarted() | TurnFailed() | TurnCancelled():
            return None
        case FeedbackReceived() | CommandRejected():
            return None
        case _:
            assert_never(event)


def text_row(delivery: Delivery, open_text: OpenText, retention_days: RetentionDays) -> Row | None:
    """The row of the event's redacted text; None if it has none, or none that can be read."""
    event = delivery.record
    sealed = redacted_text(event)
    if sealed is None:
        return None
    envelope = event.envelope
    text = open_text(sealed, envelope.tenant_id, envelope.conversation_id)
    if text is None:
        return None
    return {
        "tenant_id": envelope.tenant_id,
        "conversation_id": envelope.conversation_id,
        "seq": envelope.seq,
        "message_seq": getattr(event, "message_seq", 0),  # 0: it is about no message
        "event_type": type(event).__name__,
        "occurred_at": envelope.occurred_at,
        "text": text,
        "retention_days": retention_days(envelope.tenant_id),
        "kafka_offset": delivery.offset,
    }


def _fields(event: Event) -> Row:
    """What an event has beyond its envelope."""
    match event:
        case ConversationStarted():
            return {"subject": event.owner}
        case MessageReceived():
            return {
                "subject": event.text.subject,
                "mid": event.mid,
                "message_seq": event.envelope.seq,
                "deadline_at": event.analysis_deadline_at,
            }
        case MessageAnalysed():
            return _analysis(event)
        case TurnStarted():
            return _start(event)
        case TurnRefused():
            return {
                **_some(event, "message_seq", "mid", "code", "message"),
                "retry_after_ms": event.retry_after_ms or 0,
            }
        case TurnRestarted():
            return _some(event, "turn_id", "attempt")
        case TurnCompleted():
            return _completion(event)
        case TurnFailed():
            return _some(event, "turn_id", "attempt", "message_seq", "mid", "code", "message")
        case TurnCancelled():
            return {
                **_some(event, "turn_id", "attempt", "message_seq", "mid"),
                "code": event.reason,
            }
        case FeedbackReceived():
            return _some(event, "mid", "turn_id", "score")
        case ConversationClosed():
            return {"mid": event.mid}
        case CommandRejected():
            return {
                **_some(event, "command", "code", "message"),
                "mid": event.mid or "",
                "turn_id": event.turn_id or "",
            }
        case _:
            assert_never(event)


def _analysis(event: MessageAnalysed) -> Row:
    return {
        **_some(event, "mid", "message_seq", "late", "degraded"),
        "subject": event.redacted.subject,
        "findings": [_finding(found) for found in event.findings],
        "inferences": [_inference(inference) for inference in event.inferences],
    }


def _start(event: TurnStarted) -> Row:
    return {
        **_some(event, "turn_id", "message_seq", "mid", "subject", "deadline_at", "owner_epoch"),
        **_some(event, "config_version", "prompt_version", "model", "degraded"),
        "attempt": 1,
        "analysis_seq": event.analysis_seq or 0,
        "context_seqs": event.context,
    }


def _completion(event: TurnCompleted) -> Row:
    return {
        **_some(event, "turn_id", "attempt", "message_seq", "mid", "declined", "confidence"),
        **_some(event, "history_turns", "first_token_us", "duration_us", "degraded"),
        **_some(event.usage, "provider", "model", "input_tokens", "output_tokens"),
        "cost_usd": Decimal(event.usage.cost_nano_usd).scaleb(_NANO),
        "subject": event.text.subject,
        "citations": [_citation(citation) for citation in event.citations],
    }


def _finding(found: Finding) -> Row:
    return _some(found, "kind", "start", "end", "recogniser", "confidence")


def _inference(inference: Inference) -> Row:
    return _some(inference, "task", "label", "confidence", "model", "digest", "latency_us")


def _citation(citation: Citation) -> Row:
    return _some(citation, "marker", "document_id", "passage", "score")


def _some(record: Any, *names: str) -> Row:
    return {name: getattr(record, name) for name in names}


def _uuid(text: str) -> bytes:
    """A UUID's bytes, four times faster than `uuid.UUID` gives them."""
    try:
        found = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        found = b""
    if len(found) != 16:
        raise Invalid("no_uuid", "an id of the envelope is no UUID")
    return found
