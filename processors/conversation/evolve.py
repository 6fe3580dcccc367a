"""Folds events into a conversation's state. Never fails and never judges: the log is right."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Final, assert_never

from processors.conversation.state import (
    CLOSED,
    CONTEXT_MAX,
    ENDED_MAX,
    ENTRY_BYTES,
    HANDLED_MAX,
    OPEN,
    STRANGERS_MAX,
    UNANALYSED_MAX,
    Conversation,
    handled_entry,
)
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
from schemas.makers import maker
from schemas.records import OpenTurn, WaitingMessage

_conversation = maker(Conversation)
_waiting_message = maker(WaitingMessage)
_open_turn = maker(OpenTurn)


def evolve(state: Conversation, event: Event) -> Conversation:
    """The state after the event."""
    match event:
        # The four events that every answered message leads to come first.
        case MessageReceived():
            return _after(state, event, waiting=(*state.waiting, _waiting(event)))
        case MessageAnalysed():
            return _analysed(state, event)
        case TurnStarted():
            return _started(state, event)
        case TurnCompleted() | TurnFailed() | TurnCancelled():
            return _ended(state, event)
        case ConversationStarted():
            return _after(state, event, status=OPEN, owner=event.owner)
        case TurnRestarted():
            turn = state.turn and replace(state.turn, attempt=event.attempt)
            return _after(state, event, turn=turn)
        case TurnRefused():
            return _after(state, event, waiting=_without(state.waiting, event.message_seq))
        case ConversationClosed():
            return _after(state, event, status=CLOSED, context=(), ended=())
        case FeedbackReceived() | CommandRejected():
            return _after(state, event)
        case _:
            assert_never(event)


class _Same(Enum):
    """Says that a value stays as it is, where None would be one."""

    SAME = 0


_SAME: Final = _Same.SAME


def _after(
    state: Conversation,
    event: Event,
    *,
    status: str | None = None,
    owner: str | None = None,
    turn: OpenTurn | _Same | None = _SAME,
    waiting: tuple[WaitingMessage, ...] | None = None,
    unanalysed: tuple[int, ...] | None = None,
    context: tuple[int, ...] | None = None,
    ended: tuple[int, ...] | None = None,
) -> Conversation:
    """The state with these changes, one event further. Written out, since it runs for each."""
    envelope = event.envelope
    owner = state.owner if owner is None else owner
    handled, strangers = state.handled, state.strangers
    if envelope.body_hmac is not None:
        entry = handled_entry(envelope.command_id, envelope.body_hmac)
        if owner and envelope.actor != owner:
            strangers = (*strangers, entry)[-STRANGERS_MAX:]
        elif not handled.endswith(entry):  # else it is a further event of the same command
            handled = (handled + entry)[-HANDLED_MAX * ENTRY_BYTES :]
    return _conversation(
        state.tenant_id,
        state.conversation_id,
        envelope.seq,
        state.status if status is None else status,
        owner,
        state.owner_epoch,
        state.turn if turn is _SAME else turn,
        state.waiting if waiting is None else waiting,
        state.unanalysed if unanalysed is None else unanalysed,
        state.finished,
        state.context if context is None else context,
        handled,
        state.ended if ended is None else ended,
        strangers,
    )


def _waiting(event: MessageReceived) -> WaitingMessage:
    envelope = event.envelope
    return _waiting_message(
        message_seq=envelope.seq,
        mid=event.mid,
        subject=event.text.subject,
        correlation_id=envelope.correlation_id,
        traceparent=envelope.traceparent,
        analysis_seq=None,
        analysis_deadline_at=event.analysis_deadline_at,
    )


def _without(waiting: tuple[WaitingMessage, ...], message_seq: int) -> tuple[WaitingMessage, ...]:
    return tuple([m for m in waiting if m.message_seq != message_seq])


def _analysed(state: Conversation, event: MessageAnalysed) -> Conversation:
    seq, message_seq = event.envelope.seq, event.message_seq
    return _after(
        state,
        event,
        waiting=tuple(
            [_with_analysis(m, seq) if m.message_seq == message_seq else m for m in state.waiting]
        ),
        unanalysed=tuple([n for n in state.unanalysed if n != message_seq]),
        context=(*state.context, seq)[-CONTEXT_MAX:],
    )


def _with_analysis(message: WaitingMessage, analysis_seq: int) -> WaitingMessage:
    return _waiting_message(
        message_seq=message.message_seq,
        mid=message.mid,
        subject=message.subject,
        correlation_id=message.correlation_id,
        traceparent=message.traceparent,
        analysis_seq=analysis_seq,
        analysis_deadline_at=message.analysis_deadline_at,
    )


def _started(state: Conversation, event: TurnStarted) -> Conversation:
    unanalysed = state.unanalysed
    if event.analysis_seq is None:
        unanalysed = (*unanalysed, event.message_seq)[-UNANALYSED_MAX:]
    return _after(
        state,
        event,
        waiting=_without(state.waiting, event.message_seq),
        unanalysed=unanalysed,
        turn=_open_turn(
            turn_id=event.turn_id,
            attempt=1,
            message_seq=event.message_seq,
            mid=event.mid,
            correlation_id=event.envelope.correlation_id,
            traceparent=event.envelope.traceparent,
            deadline_at=event.deadline_at,
        ),
    )


def _ended(state: Conversation, event: TurnCompleted | TurnFailed | TurnCancelled) -> Conversation:
    context = state.context
    if isinstance(event, TurnCompleted):
        context = (*context, event.envelope.seq)[-CONTEXT_MAX:]
    return _after(
        state,
        event,
        turn=None,
        context=context,
        ended=(*state.ended, event.message_seq)[-ENDED_MAX:],
    )
