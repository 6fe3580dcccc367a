"""Writes the log of a conversation for tests: events in the order and with the fields that the
conversation stage gives them, texts sealed with sealing switched off.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

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
from schemas.identifiers import derived_id, turn_id
from schemas.parts import Citation, Finding, Inference, Usage
from schemas.records import AnswerPiece

START_US = 1_790_000_000_000_000
"""September 2026."""


def plain(text: str) -> Sealed:
    """A text as it is in the log when sealing is switched off."""
    return Sealed("p-1", "plain", "origin", "text", b"", text.encode())


class PlainOpener:
    """Opens texts of `plain`; those of `erased` subjects are gone, as the key store says it."""

    def __init__(self, failures: dict[str, Exception] | None = None) -> None:
        self.failures = failures or {}
        """By subject."""

    def open(self, sealed: Sealed, **place: Any) -> str:
        if sealed.subject in self.failures:
            raise self.failures[sealed.subject]
        return sealed.ciphertext.decode()

    def is_open_cached(self, sealed: Sealed, *, tenant_id: str) -> bool:
        return sealed.subject not in self.failures

    async def prefetch_open(self, sealed: Sealed, *, tenant_id: str) -> None:
        if sealed.subject in self.failures:
            raise self.failures[sealed.subject]


@dataclass
class ConversationLog:
    """Events of one conversation; every method appends one and returns it."""

    tenant: str = "demo"
    conversation: str = "c-1"
    start_us: int = START_US
    events: list[Event] = field(default_factory=list)

    def _envelope(self) -> Envelope:
        seq = len(self.events) + 1
        return Envelope(
            event_id=derived_id("event", self.tenant, self.conversation, str(seq)),
            tenant_id=self.tenant,
            conversation_id=self.conversation,
            seq=seq,
            occurred_at=self.start_us + seq * 1000,
            command_id=derived_id("command", self.tenant, self.conversation, str(seq)),
            causation_id=None,
            correlation_id="corr",
            traceparent=None,
            actor="p-1",
            body_hmac=None,
        )

    def _append(self, kind: type, **fields: Any) -> Any:
        event = kind(envelope=self._envelope(), **fields)
        self.events.append(event)
        return event

    def received(self, mid: str, text: str = "raw 4111 1111 1111 1111") -> MessageReceived:
        if not self.events:
            self._append(ConversationStarted, owner="p-1")
        return self._append(MessageReceived, mid=mid, text=plain(text), analysis_deadline_at=0)

    def analysed(
        self, message: MessageReceived, text: str = "card [CARD_1]", *, late: bool = False
    ) -> MessageAnalysed:
        return self._append(
            MessageAnalysed,
            message_seq=message.envelope.seq,
            mid=message.mid,
            redacted=plain(text),
            findings=(
                Finding("CARD", 5, 13, "luhn", 1.0),
                Finding("CARD", 5, 13, "again", 1.0),
            ),
            inferences=(
                Inference("intent", "lost_card", 0.9, "m", "d", 10),
                Inference("embedding", "", 1.0, "m", "d", 10),
            ),
            late=late,
        )

    def started(self, message: MessageReceived, analysis: int | None = None) -> TurnStarted:
        seq = message.envelope.seq
        return self._append(
            TurnStarted,
            turn_id=turn_id(self.tenant, self.conversation, seq),
            message_seq=seq,
            analysis_seq=analysis,
            mid=message.mid,
            subject="p-1",
            context=(),
            deadline_at=self.start_us + 60_000_000,
            owner_epoch=0,
            config_version="1",
            prompt_version="1",
            model="grounded",
        )

    def restarted(self, turn: TurnStarted, attempt: int) -> TurnRestarted:
        return self._append(TurnRestarted, turn_id=turn.turn_id, attempt=attempt)

    def _about(self, turn: TurnStarted, attempt: int) -> dict[str, Any]:
        return {
            "turn_id": turn.turn_id,
            "attempt": attempt,
            "message_seq": turn.message_seq,
            "mid": turn.mid,
        }

    def completed(
        self, turn: TurnStarted, text: str = "Freeze it in the app [1].", attempt: int = 1
    ) -> TurnCompleted:
        return self._append(
            TurnCompleted,
            **self._about(turn, attempt),
            text=plain(text),
            citations=(Citation(1, "lost-card", 0, 0.5, plain("Lost cards")),),
            usage=Usage("grounded", "bm25", 1, 1, 0),
            declined=False,
            confidence=0.8,
            history_turns=0,
            first_token_us=1,
            duration_us=2,
        )

    def failed(self, turn: TurnStarted) -> TurnFailed:
        fields = self._about(turn, 1)
        return self._append(TurnFailed, **fields, code="timeout", message="It took too long.")

    def cancelled(self, turn: TurnStarted) -> TurnCancelled:
        return self._append(TurnCancelled, **self._about(turn, 1), reason="client")

    def refused(self, message: MessageReceived) -> TurnRefused:
        return self._append(
            TurnRefused,
            message_seq=message.envelope.seq,
            mid=message.mid,
            code="busy",
            message="Later.",
            retry_after_ms=1000,
        )

    def feedback(self, turn: TurnStarted, score: int = 1) -> FeedbackReceived:
        comment = plain("my card is 4111 1111 1111 1111")
        return self._append(
            FeedbackReceived, mid="f", turn_id=turn.turn_id, score=score, comment=comment
        )

    def closed(self) -> ConversationClosed:
        return self._append(ConversationClosed, mid="end")

    def rejected(self) -> CommandRejected:
        return self._append(
            CommandRejected, command="SubmitMessage", code="conflict", message="No.", mid="m"
        )

    def exchange(self, mid: str, question: str, answer: str) -> TurnCompleted:
        """A message with its whole turn: four events, five for the first."""
        message = self.received(mid)
        analysis = self.analysed(message, question)
        return self.completed(self.started(message, analysis.envelope.seq), answer)


def piece(turn: TurnStarted, attempt: int, text: str, start: int, end: int) -> AnswerPiece:
    """The stretch `start` to `end` of an answer."""
    envelope = turn.envelope
    return AnswerPiece(
        envelope.tenant_id,
        envelope.conversation_id,
        turn.turn_id,
        attempt,
        start,
        end,
        plain(text[start:end]),
        envelope.occurred_at,
        None,
    )


def erased(event: TurnCompleted) -> TurnCompleted:
    """The event with its text under the key of an erased subject."""
    return replace(event, text=replace(event.text, subject="gone"))
