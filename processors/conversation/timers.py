"""When a conversation needs to be looked at again, and the commands that are then due."""

from __future__ import annotations

from processors.conversation.state import Conversation
from schemas.commands import ExpireAnalysis, ExpireTurn
from schemas.envelope import CommandEnvelope
from schemas.identifiers import internal_command_id

ORIGIN = "timer"


def next_deadline_us(state: Conversation) -> int | None:
    """The earliest time at which `expiries` gives anything; None while nothing is pending."""
    if state.turn is not None:
        return state.turn.deadline_at
    if state.waiting:
        return state.waiting[0].analysis_deadline_at
    return None


def expiries(state: Conversation, now_us: int) -> tuple[ExpireAnalysis | ExpireTurn, ...]:
    """The commands that are due. Asking again gives the same ids, so repetition does no harm."""
    turn = state.turn
    if turn is not None:
        if turn.deadline_at > now_us:
            return ()
        envelope = _envelope(
            state, "turn", turn.turn_id, turn.correlation_id, turn.traceparent, now_us
        )
        return (ExpireTurn(envelope, turn.turn_id),)
    if state.waiting and state.waiting[0].analysis_deadline_at <= now_us:
        message = state.waiting[0]
        envelope = _envelope(
            state,
            "analysis",
            str(message.message_seq),
            message.correlation_id,
            message.traceparent,
            now_us,
        )
        return (ExpireAnalysis(envelope, message.message_seq),)
    return ()


def _envelope(
    state: Conversation,
    step: str,
    causation: str,
    correlation_id: str,
    traceparent: str | None,
    now_us: int,
) -> CommandEnvelope:
    tenant, conversation = state.tenant_id, state.conversation_id
    return CommandEnvelope(
        command_id=internal_command_id(tenant, conversation, ORIGIN, causation, step),
        tenant_id=tenant,
        conversation_id=conversation,
        issued_at=now_us,
        origin=ORIGIN,
        causation_id=None,
        correlation_id=correlation_id,
        traceparent=traceparent,
        actor=ORIGIN,
        body_hmac=None,
    )
