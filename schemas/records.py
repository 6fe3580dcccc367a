"""Records beside commands and events: streamed pieces, snapshots, knowledge and dead letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from schemas.envelope import Sealed
from schemas.types import Int32, TimestampMicros


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """A stretch of an answer while it is generated; `start` and `end` count code points."""

    tenant_id: str
    conversation_id: str
    turn_id: str
    attempt: Int32
    start: Int32
    end: Int32
    text: Sealed
    produced_at: TimestampMicros
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """The turn that is being answered."""

    turn_id: str
    attempt: Int32
    message_seq: int
    mid: str
    correlation_id: str
    traceparent: str | None
    deadline_at: TimestampMicros


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that no turn has answered yet."""

    message_seq: int
    mid: str
    subject: str
    correlation_id: str
    traceparent: str | None
    analysis_seq: int | None
    analysis_deadline_at: Annotated[TimestampMicros, "From then on a turn may start without it"]


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """A turn that is over, as snapshots told of it before they had `ended`."""

    turn_id: str
    message_seq: int
    outcome: str


@dataclass(frozen=True, slots=True)
class ConversationSnapshot:
    """The folded state of a conversation after event `seq`. Holds references, never text."""

    tenant_id: str
    conversation_id: str
    seq: int
    status: Annotated[str, "new, open or closed"]
    owner: str
    owner_epoch: Int32
    turn: OpenTurn | None
    waiting: tuple[WaitingMessage, ...]
    unanalysed: Annotated[tuple[int, ...], "Messages whose turn began before their analysis came"]
    finished: Annotated[tuple[FinishedTurn, ...], "Empty; earlier snapshots have `ended` here"]
    context: Annotated[tuple[int, ...], "Latest MessageAnalysed and TurnCompleted, oldest first"]
    handled: Annotated[
        bytes, "Ids and body HMACs of the latest client commands, 16 bytes each, oldest first"
    ]
    ended: Annotated[
        tuple[int, ...], "Messages whose turns are over, the latest ones, oldest first"
    ] = ()
    strangers: Annotated[
        tuple[bytes, ...], "Entries as in `handled`, of people who are not the owner"
    ] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document that can be retrieved and cited."""

    ordinal: Int32
    text: str
    embedding: Annotated[bytes, "Little-endian float32, length one"]


@dataclass(frozen=True, slots=True)
class KnowledgeDocument:
    """A document of a tenant's knowledge, cut into passages."""

    tenant_id: str
    document_id: str
    title: str
    url: str | None
    imported_at: TimestampMicros
    model_digest: Annotated[str, "sha256 of the model that made the embeddings"]
    passages: tuple[Passage, ...]
    questions: Annotated[tuple[Passage, ...], "Example questions that the document answers"] = ()
    labels: Annotated[dict[str, str], "Source attributes"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that no retry can handle, kept for a person to look at."""

    stage: str
    topic: str
    partition: Int32
    offset: int
    code: str
    reason: Annotated[str, "A sentence for operators; never text of a conversation"]
    failed_at: TimestampMicros
    headers: Annotated[dict[str, str], "The headers that this platform defines"]
    key: Annotated[bytes, "The original key, under the platform's key"]
    content: Annotated[bytes, "The original value, under the platform's key"]
