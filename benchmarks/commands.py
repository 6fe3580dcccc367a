"""Commands as gateway and stages send them, for benchmarks of the conversation stage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from schemas.commands import Command, CompleteTurn, RecordAnalysis, SubmitMessage
from schemas.envelope import CommandEnvelope, Sealed
from schemas.identifiers import client_command_id, internal_command_id, turn_id
from schemas.parts import Citation, Inference, Usage

TENANT = "bench"
ACTOR = "p" * 22
MESSAGES_EACH = 8

Seal = Callable[[str, str, str, int], Sealed]
"""Makes a sealed text for a conversation, a command and a field, of about so many bytes."""


def noise(conversation: str, origin_id: str, field: str, size_bytes: int) -> Sealed:
    """What looks like a sealed text to all who do not open it."""
    return Sealed(ACTOR, "2026-11/1", origin_id, field, os.urandom(12), os.urandom(size_bytes))


def submissions(conversation: str) -> Iterator[Command]:
    """A customer's messages, with nobody to answer them."""
    for number in range(MESSAGES_EACH):
        yield submit(conversation, number)


def whole_conversation(conversation: str, seal: Seal = noise) -> Iterator[Command]:
    """A customer's messages, each with the analysis and the answer that the stages send for it."""
    for number in range(MESSAGES_EACH):
        # The first message is event 2, after `ConversationStarted`; each leads to four events.
        message_seq = 2 + 4 * number
        yield submit(conversation, number, seal)
        yield record_analysis(conversation, number, message_seq, seal)
        yield complete_turn(conversation, message_seq, seal)


WORKLOADS = {
    "messages": (submissions, MESSAGES_EACH + 1),
    "whole conversations": (whole_conversation, 4 * MESSAGES_EACH + 1),
}
"""By name: the commands of a conversation, and how many events they lead to."""


def submit(conversation: str, number: int, seal: Seal = noise) -> SubmitMessage:
    """A message of a customer."""
    mid = f"m{number}"
    command_id = client_command_id(TENANT, conversation, ACTOR, mid, "SubmitMessage")
    envelope = _envelope(command_id, conversation, "client", ACTOR, os.urandom(16))
    return SubmitMessage(envelope, mid, seal(conversation, command_id, "text", 90))


def record_analysis(
    conversation: str, number: int, message_seq: int, seal: Seal = noise
) -> RecordAnalysis:
    """What the analysis stage sends for it."""
    command_id = internal_command_id(TENANT, conversation, "analysis", str(message_seq), "record")
    inferences = tuple(
        Inference(task, "card_arrival", 0.93, "heads/1", "d" * 64, 4200)
        for task in ("intent.banking77", "out_of_scope", "sentiment")
    )
    return RecordAnalysis(
        _envelope(command_id, conversation, "analysis", "analysis"),
        message_seq=message_seq,
        mid=f"m{number}",
        redacted=seal(conversation, command_id, "redacted", 90),
        findings=(),
        inferences=inferences,
    )


def complete_turn(conversation: str, message_seq: int, seal: Seal = noise) -> CompleteTurn:
    """What the answering stage sends for it."""
    turn = turn_id(TENANT, conversation, message_seq)
    command_id = internal_command_id(TENANT, conversation, "answering", turn, "complete", 1)
    title = seal(conversation, command_id, "title.1", 40)
    return CompleteTurn(
        _envelope(command_id, conversation, "answering", "answering"),
        turn_id=turn,
        attempt=1,
        text=seal(conversation, command_id, "answer", 400),
        citations=(Citation(1, "card-arrival", 0, 0.9, title),),
        usage=Usage("grounded", "grounded", 0, 60, 0),
        declined=False,
        confidence=0.9,
        history_turns=0,
        first_token_us=5000,
        duration_us=9000,
    )


def _envelope(
    command_id: str,
    conversation: str,
    origin: str,
    actor: str,
    body_hmac: bytes | None = None,
) -> CommandEnvelope:
    return CommandEnvelope(
        command_id=command_id,
        tenant_id=TENANT,
        conversation_id=conversation,
        issued_at=time.time_ns() // 1000,
        origin=origin,
        causation_id=None,
        correlation_id=command_id,
        traceparent=None,
        actor=actor,
        body_hmac=body_hmac,
    )
