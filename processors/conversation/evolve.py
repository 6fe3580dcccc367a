"""Folds events into a conversation's state. Never fails and never judges: the log is right."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from processors.conversation.state import (
    CLOSED,
    CONTEXT_MAX,
    ENTRY_BYTES,
    FINISHED_MAX,
    HANDLED_MAX,
    OPEN,
    UNANALYSED_MAX,
    Conversation,
    handled_entry,
)
from schemas.envelope import Envelope
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
from schemas.records import FinishedTurn, OpenTurn, WaitingMessage


def evolve(state: Conversation, event: Event) -> Conversation:
    """The state after the event."""
    seq, handled = event.envelope.seq, _remember(state.handled, event.envelope)
    match event:
        case ConversationStarted():
            return replace(state, seq=seq, handled=handled, status=OPEN, owner=event.owner)
        case MessageReceived():
            waiting = (*state.waiting, _waiting(event))
            return replace(state, seq=seq, handled=handled, waiting=waiting)
        case MessageAnalysed():
            return _analysed(state, event)
        case TurnStarted():
            return _started(state, event)
        case TurnRestarted():
            turn = state.turn and replace(state.turn, attempt=event.attempt)
            return replace(state, seq=seq, handled=handled, turn=turn)
        case TurnCompleted():
            context = (*state.context, seq)[-CONTEXT_MAX:]
            return replace(_finished(state, event, "completed"), context=context)
        case TurnFailed():
            return _finished(state, event, "failed")
        case TurnCancelled():
            return _finished(state, event, "cancelled")
        case TurnRefused():
            waiting = tuple(m for m in state.waiting if m.message_seq != event.message_seq)
            return replace(state, seq=seq, handled=handled, waiting=waiting)
        case ConversationClosed():
            return replace(state, seq=seq, handled=handled, status=CLOSED, context=(), finished=())
        case FeedbackReceived() | CommandRejected():
            return replace(state, seq=seq, handled=handled)
        case _:
            assert_never(event)


def _remember(handled: bytes, envelope: Envelope) -> bytes:
    if envelope.body_hmac is None:
        return handled
    entry = handled_entry(envelope.command_id, envelope.body_hmac)
    if handled.endswith(entry):  # a further event of the same command
        return handled
    return (handled + entry)[-HANDLED_MAX * ENTRY_BYTES :]


def _waiting(event: MessageReceived) -> WaitingMessage:
    return WaitingMessage(
        message_seq=event.envelope.seq,
        mid=event.mid,
        subject=event.text.subject,
        correlation_id=event.envelope.correlation_id,
        traceparent=event.envelope.traceparent,
        analysis_seq=None,
        analysis_deadline_at=event.analysis_deadline_at,
    )


def _analysed(state: Conversation, event: MessageAnalysed) -> Conversation:
    seq = event.envelope.seq
    return replace(
        state,
        seq=seq,
        waiting=tuple(
            replace(m, analysis_seq=seq) if m.message_seq == event.message_seq else m
            for m in state.waiting
        ),
        unanalysed=tuple(n for n in state.unanalysed if n != event.message_seq),
        context=(*state.context, seq)[-CONTEXT_MAX:],
    )


def _started(state: Conversation, event: TurnStarted) -> Conversation:
    unanalysed = state.unanalysed
    if event.analysis_seq is None:
        unanalysed = (*unanalysed, event.message_seq)[-UNANALYSED_MAX:]
    return replace(
        state,
        seq=event.envelope.seq,
        handled=_remember(state.handled, event.envelope),
        waiting=tuple(m for m in state.waiting if m.message_seq != event.message_seq),
        unanalysed=unanalysed,
        turn=OpenTurn(
            turn_id=event.turn_id,
            attempt=1,
            message_seq=event.message_seq,
            mid=event.mid,
            correlation_id=event.envelope.correlation_id,
            traceparent=event.envelope.traceparent,
            deadline_at=event.deadline_at,
        ),
    )


def _finished(
    state: Conversation, event: TurnCompleted | TurnFailed | TurnCancelled, outcome: str
) -> Conversation:
    finished = FinishedTurn(event.turn_id, event.message_seq, outcome)
    return replace(
        state,
        seq=event.envelope.seq,
        handled=_remember(state.handled, event.envelope),
        turn=None,
        finished=(*state.finished, finished)[-FINISHED_MAX:],
    )
