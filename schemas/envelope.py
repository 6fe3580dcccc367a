"""What every record carries about itself, and the sealed form that free text takes in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.types import TimestampMicros, Uuid


@dataclass(frozen=True, slots=True)
class Sealed:
    """Free text under its subject's data key of one month (AES-256-GCM).

    The associated data is tenant, conversation, subject, originating command, field and key
    version, and for pieces of an answer also turn, attempt and start. An event that takes the
    text over from a command carries the blob on unchanged.
    """

    subject: Annotated[str, "Pseudonym of the person whose key sealed this"]
    key_version: Annotated[str, "Month and version of the data key, such as 2026-11/1"]
    origin_id: Annotated[str, "Command that the text first entered with"]
    field: Annotated[str, "Field that the text was sealed for"]
    nonce: Annotated[bytes, "96 random bits"]
    ciphertext: Annotated[bytes, "Encrypted UTF-8 text with its 128-bit tag"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who, where, when and why of an event."""

    event_id: Annotated[Uuid, "Derived from the command and the event's ordinal under it"]
    tenant_id: str
    conversation_id: str
    seq: Annotated[int, "Number of the event in its conversation, contiguous from 1"]
    occurred_at: TimestampMicros
    command_id: Annotated[Uuid, "Command that was decided"]
    causation_id: Annotated[str | None, "Record that led to the command"]
    correlation_id: Annotated[str, "Shared by everything that one message of a client caused"]
    traceparent: Annotated[str | None, "W3C trace context"]
    actor: Annotated[str, "Pseudonym of the person, or the name of the stage, that acted"]
    body_hmac: Annotated[
        bytes | None, "HMAC of the client's body under the subject's key, 16 bytes; none inside"
    ]


@dataclass(frozen=True, slots=True)
class CommandEnvelope:
    """Who, where, when and why of a command."""

    command_id: Annotated[Uuid, "Equal for every repetition of the same command"]
    tenant_id: str
    conversation_id: str
    issued_at: TimestampMicros
    origin: Annotated[str, "Class of the author: client, analysis, answering or timer"]
    causation_id: Annotated[str | None, "Record that led to the command"]
    correlation_id: Annotated[str, "Shared by everything that one message of a client caused"]
    traceparent: Annotated[str | None, "W3C trace context"]
    actor: Annotated[str, "Pseudonym of the person, or the name of the stage, that acts"]
    body_hmac: Annotated[
        bytes | None, "HMAC of the client's body under the subject's key, 16 bytes; none inside"
    ]
