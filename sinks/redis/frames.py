"""What a frontend sees of an event, and the frame that carries it. Pure: texts come in opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import orjson

from schemas.envelope import Sealed
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
from schemas.headers import rfc3339
from schemas.parts import Citation, Inference
from schemas.records import AnswerPiece

ERASED = "[erased]"
"""Stands for a text whose key is gone."""
UNREADABLE = "[unreadable]"
"""Stands for a text that does not open under its key."""

Shown = dict[str, Any]
"""The `data` of an event's frame, as plain JSON values."""


def sealed_texts(event: Event) -> tuple[Sealed, ...]:
    """The texts that `shown` needs opened, in its order.

    What a person wrote is never one, only what was redacted since.
    """
    match event:
        case MessageAnalysed():
            return (event.redacted,)
        case TurnCompleted():
            return (event.text, *(citation.title for citation in event.citations))
        case ConversationStarted() | MessageReceived() | ConversationClosed():
            return ()
        case TurnStarted() | TurnRefused() | TurnRestarted() | TurnFailed() | TurnCancelled():
            return ()
        case FeedbackReceived() | CommandRejected():
            return ()
        case _:
            assert_never(event)


def shown(event: Event, texts: Sequence[str]) -> Shown:
    """The `data` of an event's frame. `texts` are those of `sealed_texts`, opened."""
    match event:
        case ConversationStarted() | MessageReceived() | ConversationClosed():
            return {}
        case MessageAnalysed():
            return _analysis(event, texts[0])
        case TurnStarted():
            return {
                "message_seq": event.message_seq,
                "attempt": 1,
                "deadline": rfc3339(event.deadline_at),
                **_degraded(event.degraded),
            }
        case TurnRestarted():
            return {"attempt": event.attempt}
        case TurnCompleted():
            return _answer(event, texts)
        case TurnFailed():
            return {"code": event.code, "message": event.message}
        case TurnCancelled():
            return {"reason": event.reason}
        case TurnRefused():
            data: Shown = {"code": event.code, "message": event.message}
            if event.retry_after_ms is not None:
                data["retry_after_ms"] = event.retry_after_ms
            return data
        case FeedbackReceived():
            return {"score": event.score}
        case CommandRejected():
            return {"command": event.command, "code": event.code, "message": event.message}
    assert_never(event)


def _analysis(event: MessageAnalysed, text: str) -> Shown:
    data: Shown = {
        "message_seq": event.message_seq,
        "text": text,
        "kinds": list(dict.fromkeys(finding.kind for finding in event.findings)),
        "labels": _labels(event.inferences),
    }
    if event.late:
        data["late"] = True
    return data | _degraded(event.degraded)


def _answer(event: TurnCompleted, texts: Sequence[str]) -> Shown:
    text, *titles = texts
    data: Shown = {
        "message_seq": event.message_seq,
        "text": text,
        "citations": [_citation(c, t) for c, t in zip(event.citations, titles, strict=True)],
    }
    if event.declined:
        data["declined"] = True
    return data | _degraded(event.degraded)


def _citation(citation: Citation, title: str) -> Shown:
    return {
        "marker": citation.marker,
        "document": citation.document_id,
        "passage": citation.passage,
        "title": title,
    }


def _labels(inferences: Iterable[Inference]) -> dict[str, str]:
    return {inference.task: inference.label for inference in inferences if inference.label}


def _degraded(reasons: tuple[str, ...]) -> Shown:
    return {"degraded": list(reasons)} if reasons else {}


def event_frame(event: Event, data: Shown) -> bytes:
    """The frame of an event, encoded as every client gets it."""
    envelope = event.envelope
    frame: dict[str, Any] = {
        "t": "event",
        "c": envelope.conversation_id,
        "seq": envelope.seq,
        "type": type(event).__name__,
        "ts": rfc3339(envelope.occurred_at),
    }
    mid, turn = getattr(event, "mid", None), getattr(event, "turn_id", None)
    if mid is not None:
        frame["mid"] = mid
    if turn is not None:
        frame["turn"] = turn
    frame["data"] = data
    return orjson.dumps(frame)


def tokens_frame(piece: AnswerPiece, text: str) -> bytes:
    """The frame of a stretch of streamed text."""
    return orjson.dumps(
        {
            "t": "tokens",
            "c": piece.conversation_id,
            "turn": piece.turn_id,
            "attempt": piece.attempt,
            "from": piece.start,
            "to": piece.end,
            "text": text,
        }
    )
