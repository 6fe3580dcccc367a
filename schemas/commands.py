"""Requests to change a conversation, in the imperative. A command may arrive more than once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.envelope import CommandEnvelope, Sealed
from schemas.parts import Citation, Finding, Inference, Usage
from schemas.types import Int32


@dataclass(frozen=True, slots=True)
class SubmitMessage:
    """A person says something. The first one creates the conversation."""

    envelope: CommandEnvelope
    mid: Annotated[str, "The client's own id of the message"]
    text: Sealed


@dataclass(frozen=True, slots=True)
class RecordAnalysis:
    """The analysis of a message, ready to be recorded."""

    envelope: CommandEnvelope
    message_seq: int
    mid: str
    redacted: Annotated[Sealed, "Text with placeholders for personal data"]
    findings: tuple[Finding, ...]
    inferences: tuple[Inference, ...]
    degraded: Annotated[tuple[str, ...], "Why it is less than it should be, empty when whole"] = ()


@dataclass(frozen=True, slots=True)
class ExpireAnalysis:
    """The analysis of a message is overdue."""

    envelope: CommandEnvelope
    message_seq: int


@dataclass(frozen=True, slots=True)
class CompleteTurn:
    """An attempt produced the whole answer."""

    envelope: CommandEnvelope
    turn_id: str
    attempt: Int32
    text: Annotated[Sealed, "The answer, redacted"]
    citations: tuple[Citation, ...]
    usage: Usage
    declined: Annotated[bool, "The answer says that it does not know"]
    confidence: float
    history_turns: Annotated[Int32, "Earlier turns that the answer could see"]
    first_token_us: Annotated[int, "Start of the attempt to its first piece, in microseconds"]
    duration_us: Annotated[int, "Start of the attempt to its end, in microseconds"]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailTurn:
    """An attempt gave up for good."""

    envelope: CommandEnvelope
    turn_id: str
    attempt: Int32
    code: str
    message: Annotated[str, "A fixed sentence for people; never text of the conversation"]


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """A person wants the answer to stop."""

    envelope: CommandEnvelope
    mid: str
    turn_id: str


@dataclass(frozen=True, slots=True)
class ExpireTurn:
    """A turn is past its deadline."""

    envelope: CommandEnvelope
    turn_id: str


@dataclass(frozen=True, slots=True)
class RestartTurn:
    """Another worker takes a running turn over and asks for a new attempt."""

    envelope: CommandEnvelope
    turn_id: str
    attempt: Annotated[Int32, "The attempt that is to begin"]


@dataclass(frozen=True, slots=True)
class SubmitFeedback:
    """A person rates an answer."""

    envelope: CommandEnvelope
    mid: str
    turn_id: str
    score: Annotated[Int32, "-1 for bad, 1 for good"]
    comment: Sealed | None = None


@dataclass(frozen=True, slots=True)
class CloseConversation:
    """A person ends the conversation."""

    envelope: CommandEnvelope
    mid: str


Command = (
    SubmitMessage
    | RecordAnalysis
    | ExpireAnalysis
    | CompleteTurn
    | FailTurn
    | CancelTurn
    | ExpireTurn
    | RestartTurn
    | SubmitFeedback
    | CloseConversation
)
