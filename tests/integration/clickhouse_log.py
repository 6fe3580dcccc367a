"""A small log of conversations, as deliveries of the events topic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from schemas.envelope import Envelope, Sealed
from schemas.events import (
    CommandRejected,
    ConversationClosed,
    ConversationStarted,
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
from schemas.parts import Citation, Finding, Inference, Usage
from schemas.topics import key_of
from sinks.port import Delivery

TOPIC = "parley.events.v1"
START_US = 1_790_000_000_000_000


def sealed(text: str) -> Sealed:
    """A blob whose text `open_text` below gives back."""
    return Sealed("sub-1", "2026-09/1", "cmd-1", "text", b"n" * 12, text.encode())


def open_text(blob: Sealed, tenant_id: str, conversation_id: str) -> str | None:
    """Opens the blobs of `sealed`; those that say `gone` have lost their key."""
    text = blob.ciphertext.decode()
    assert not text.startswith("raw"), "the raw message was opened"
    return None if text == "gone" else text


def envelope(conversation: str, seq: int, tenant: str = "demo") -> Envelope:
    return Envelope(
        event_id=str(uuid5(NAMESPACE_URL, f"{tenant}/{conversation}/{seq}")),
        tenant_id=tenant,
        conversation_id=conversation,
        seq=seq,
        occurred_at=START_US + seq * 1_000_000,
        command_id=str(uuid5(NAMESPACE_URL, f"command/{tenant}/{conversation}/{seq}")),
        causation_id=None,
        correlation_id=f"correlation-{conversation}",
        traceparent=None,
        actor="sub-1",
        body_hmac=None,
    )


def conversation(name: str, tenant: str = "demo") -> list[Any]:
    """Fourteen events: an answer, a failure, a refusal and a cancelled turn."""
    numbers = iter(range(1, 100))

    def head() -> Envelope:
        return envelope(name, next(numbers), tenant)

    usage = Usage("grounded", "grounded-1", 120, 30, 1_234_567)
    findings = (Finding("EMAIL", 8, 17, "email", 1.0),)
    inferences = (
        Inference("embedding", "", 0.0, "minilm", "sha-1", 2000),
        Inference("intent.banking77", "card_arrival", 0.93, "intent-head", "sha-2", 90),
        Inference("sentiment", "negative", 0.71, "sentiment-head", "sha-3", 80),
    )
    degraded = ("context",)
    citations = (Citation(1, "doc-7", 2, 0.5, sealed("Cards")),)
    start = {
        "message_seq": 2,
        "mid": "m1",
        "subject": "sub-1",
        "context": (),
        "deadline_at": START_US + 60_000_000,
        "owner_epoch": 0,
        "config_version": "c1",
        "prompt_version": "p1",
        "model": "grounded-1",
    }
    ended = {"attempt": 1, "message_seq": 2, "mid": "m1"}
    return [
        ConversationStarted(head(), "sub-1"),
        MessageReceived(head(), "m1", sealed("raw write to me@example.org"), START_US),
        MessageAnalysed(
            head(), 2, "m1", sealed("write to [EMAIL_1]"), findings, inferences, False, degraded
        ),
        TurnStarted(head(), turn_id=f"{name}-t1", analysis_seq=3, **start),
        TurnRestarted(head(), f"{name}-t1", 2),
        TurnCompleted(
            head(),
            turn_id=f"{name}-t1",
            **{**ended, "attempt": 2},
            text=sealed("It is on its way. [1]"),
            citations=citations,
            usage=usage,
            declined=False,
            confidence=0.8,
            history_turns=1,
            first_token_us=41_000,
            duration_us=250_500,
            degraded=("smaller_model",),
        ),
        TurnStarted(head(), turn_id=f"{name}-t2", analysis_seq=None, **start),
        TurnFailed(head(), turn_id=f"{name}-t2", **ended, code="deadline", message="Too late."),
        TurnRefused(head(), 2, "m2", "busy", "Come back later.", 1500),
        TurnStarted(head(), turn_id=f"{name}-t3", analysis_seq=None, **start),
        TurnCancelled(head(), turn_id=f"{name}-t3", **ended, reason="client"),
        FeedbackReceived(head(), "f1", f"{name}-t1", 4, sealed("raw comment")),
        CommandRejected(head(), "SubmitMessage", "conflict", "Another body.", "m1", None),
        ConversationClosed(head(), "m9"),
    ]


def deliveries(events: list[Any], first_offset: int = 0, partition: int = 0) -> Iterator[Delivery]:
    """Events with the gaps between offsets that transactions leave."""
    for number, event in enumerate(events):
        offset = first_offset + number + number // 5
        yield Delivery(TOPIC, partition, offset, 7, event, key_of(event), None)
