"""Facts of a conversation, in the past tense and in `seq` order. One stage alone adds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.envelope import Envelope, Sealed
from schemas.parts import Citation, Finding, Inference, Usage
from schemas.types import Int32, TimestampMicros


@dataclass(frozen=True, slots=True)
class ConversationStarted:
    """The first message arrived and fixed the owner."""

    envelope: Envelope
    owner: Annotated[str, "Pseudonym of the person whom the conversation belongs to"]


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A person said something."""

    envelope: Envelope
    mid: str
    text: Annotated[Sealed, "What was written, unredacted"]
    analysis_deadline_at: Annotated[
        TimestampMicros, "From then on the turn may start without analysis"
    ]


@dataclass(frozen=True, slots=True)
class MessageAnalysed:
    """Models and recognisers have looked at a message."""

    envelope: Envelope
    message_seq: int
    mid: str
    redacted: Sealed
    findings: tuple[Finding, ...]
    inferences: tuple[Inference, ...]
    late: Annotated[bool, "Came after the turn had started without it"]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """An answer is due. Attempt 1 begins with it."""

    envelope: Envelope
    turn_id: str
    message_seq: Annotated[int, "The MessageReceived to be answered"]
    analysis_seq: Annotated[int | None, "Its MessageAnalysed; none where that did not come in time"]
    mid: str
    subject: Annotated[str, "Pseudonym of the person to answer, whose key seals the answer"]
    context: Annotated[
        tuple[int, ...], "Earlier MessageAnalysed and TurnCompleted events in view, oldest first"
    ]
    deadline_at: TimestampMicros
    owner_epoch: Annotated[Int32, "Rises when the conversation changes hands"]
    config_version: Annotated[str, "Configuration in force when the turn began"]
    prompt_version: str
    model: Annotated[str, "Provider and model chosen for the answer"]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnRefused:
    """No answer will be tried; come back later."""

    envelope: Envelope
    message_seq: int
    mid: str
    code: str
    message: str
    retry_after_ms: Annotated[int | None, "Milliseconds until another try makes sense"] = None


@dataclass(frozen=True, slots=True)
class TurnRestarted:
    """A new attempt begins; pieces of older ones no longer count."""

    envelope: Envelope
    turn_id: str
    attempt: Int32


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """The answer stands."""

    envelope: Envelope
    turn_id: str
    attempt: Int32
    message_seq: int
    mid: str
    text: Annotated[Sealed, "The answer, redacted"]
    citations: tuple[Citation, ...]
    usage: Usage
    declined: bool
    confidence: float
    history_turns: Int32
    first_token_us: int
    duration_us: int
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """No answer came: every attempt failed or the deadline passed."""

    envelope: Envelope
    turn_id: str
    attempt: Int32
    message_seq: int
    mid: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TurnCancelled:
    """The answer was stopped on purpose."""

    envelope: Envelope
    turn_id: str
    attempt: Int32
    message_seq: int
    mid: str
    reason: Annotated[str, "client, interrupted or closed"]


@dataclass(frozen=True, slots=True)
class FeedbackReceived:
    """A person rated an answer."""

    envelope: Envelope
    mid: str
    turn_id: str
    score: Int32
    comment: Sealed | None = None


@dataclass(frozen=True, slots=True)
class ConversationClosed:
    """The conversation takes no more messages."""

    envelope: Envelope
    mid: str


@dataclass(frozen=True, slots=True)
class CommandRejected:
    """A command had no effect but this record of it."""

    envelope: Envelope
    command: Annotated[str, "Type of the rejected command"]
    code: str
    message: str
    mid: str | None = None
    turn_id: str | None = None


Event = (
    ConversationStarted
    | MessageReceived
    | MessageAnalysed
    | TurnStarted
    | TurnRefused
    | TurnRestarted
    | TurnCompleted
    | TurnFailed
    | TurnCancelled
    | FeedbackReceived
    | ConversationClosed
    | CommandRejected
)
