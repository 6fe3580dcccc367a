"""Decides what a command does to a conversation. Pure: time and chance come in the arguments."""

from __future__ import annotations

from typing import assert_never

from processors.conversation.admission import ClientCommand, checked_entry
from processors.conversation.evolve import evolve
from processors.conversation.policy import Policy
from processors.conversation.stamp import Stamp
from processors.conversation.state import (
    CLOSED,
    NEW,
    Conversation,
    has_ended,
    has_handled,
    has_handled_otherwise,
    waiting_message,
)
from schemas.commands import (
    CancelTurn,
    CloseConversation,
    Command,
    CompleteTurn,
    ExpireAnalysis,
    ExpireTurn,
    FailTurn,
    RecordAnalysis,
    RestartTurn,
    SubmitFeedback,
    SubmitMessage,
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
from schemas.identifiers import is_client_id, turn_id
from schemas.makers import maker
from schemas.records import OpenTurn, WaitingMessage

Events = tuple[Event, ...]
Decision = tuple[Events, Conversation]

# The events that every answered message leads to.
_message_received = maker(MessageReceived)
_message_analysed = maker(MessageAnalysed)
_turn_started = maker(TurnStarted)
_turn_completed = maker(TurnCompleted)


def decide(state: Conversation, command: Command, now_us: int, policy: Policy) -> Decision:
    """The events that the command leads to, and the state after them.

    A repeated command leads to none. A client's command that can't be obeyed leads to
    `CommandRejected`; a stage's command that no longer applies leads to none.
    """
    stamp = Stamp(state, command.envelope, now_us)
    events = _effects(state, command, stamp, policy)
    for event in events:
        state = evolve(state, event)
    # A repeated command must not start anything: its events would bear the first one's ids.
    if events or _is_overdue(state, command, stamp):
        started = _next_turn(state, stamp, policy)
        if started is not None:
            return (*events, started), evolve(state, started)
    return events, state


def _effects(state: Conversation, command: Command, stamp: Stamp, policy: Policy) -> Events:
    match command:
        case RecordAnalysis():
            return _record_analysis(state, command, stamp)
        case CompleteTurn():
            return _complete(state, command, stamp)
        case SubmitMessage() | CancelTurn() | SubmitFeedback() | CloseConversation():
            return _client_effects(state, command, stamp, policy)
        case FailTurn():
            return _fail(state, command, stamp)
        case RestartTurn():
            return _restart(state, command, stamp, policy)
        case ExpireTurn():
            return _expire(state, command, stamp)
        case ExpireAnalysis():
            return ()
        case _:
            assert_never(command)


def _client_effects(
    state: Conversation, command: ClientCommand, stamp: Stamp, policy: Policy
) -> Events:
    """Effects of a command that a person sent, once it is new, well formed and allowed."""
    envelope = command.envelope
    entry = checked_entry(state, command)
    known = has_handled_otherwise(state, entry)
    if known and has_handled(state, entry):
        return ()
    if not is_client_id(command.mid):
        return _reject(command, stamp, "bad_mid", "mid takes 1 to 64 of A-Z a-z 0-9 _ -")
    if known:
        return _reject(command, stamp, "conflict", "this id was used with another body before")
    if state.status != NEW and envelope.actor != state.owner:
        return _reject(command, stamp, "forbidden", "this conversation belongs to somebody else")
    match command:
        case SubmitMessage():
            return _submit(state, command, stamp, policy)
        case CancelTurn():
            return _cancel(state, command, stamp)
        case SubmitFeedback():
            return _feedback(state, command, stamp)
        case CloseConversation():
            return _close(state, command, stamp)
        case _:
            assert_never(command)


def _submit(state: Conversation, command: SubmitMessage, stamp: Stamp, policy: Policy) -> Events:
    if state.status == CLOSED:
        return _reject(command, stamp, "closed", "this conversation is closed")
    if len(state.waiting) >= policy.waiting_max:
        message = "too many messages wait for an answer; send again when one has come"
        return _reject(command, stamp, "too_many_waiting", message)
    if state.status == NEW:
        started = ConversationStarted(stamp.envelope(), owner=command.envelope.actor)
        return started, _received(command, stamp, policy)
    received = _received(command, stamp, policy)
    if policy.interrupt and state.turn is not None:
        return received, _cancelled(state.turn, stamp, "interrupted")
    return (received,)


def _received(command: SubmitMessage, stamp: Stamp, policy: Policy) -> MessageReceived:
    deadline_at = stamp.now_us + policy.analysis_deadline_us
    return _message_received(stamp.envelope(), command.mid, command.text, deadline_at)


def _cancel(state: Conversation, command: CancelTurn, stamp: Stamp) -> Events:
    turn = state.turn
    if turn is not None and turn.turn_id == command.turn_id:
        return (_cancelled(turn, stamp, "client"),)
    if has_ended(state, command.turn_id):
        return _reject(command, stamp, "turn_over", "this answer is already over")
    return _reject(command, stamp, "unknown_turn", "there is no such answer here")


def _feedback(state: Conversation, command: SubmitFeedback, stamp: Stamp) -> Events:
    if command.score not in (-1, 1):
        return _reject(command, stamp, "bad_score", "a score is -1 or 1")
    if has_ended(state, command.turn_id):
        return (
            FeedbackReceived(
                stamp.envelope(), command.mid, command.turn_id, command.score, command.comment
            ),
        )
    message = "there is no finished answer of this id, or it is too long ago"
    return _reject(command, stamp, "unknown_turn", message)


def _close(state: Conversation, command: CloseConversation, stamp: Stamp) -> Events:
    if state.status == NEW:
        return _reject(command, stamp, "unknown_conversation", "there is nothing to close")
    if state.status == CLOSED:
        return _reject(command, stamp, "closed", "this conversation is closed")
    cancelled = () if state.turn is None else (_cancelled(state.turn, stamp, "closed"),)
    refused = [_refused(message, stamp) for message in state.waiting]
    return (*cancelled, *refused, ConversationClosed(stamp.envelope(), command.mid))


def _refused(message: WaitingMessage, stamp: Stamp) -> TurnRefused:
    return TurnRefused(
        stamp.envelope(message),
        message_seq=message.message_seq,
        mid=message.mid,
        code="closed",
        message="the conversation was closed before this was answered",
    )


def _record_analysis(state: Conversation, command: RecordAnalysis, stamp: Stamp) -> Events:
    message = waiting_message(state, command.message_seq)
    late = command.message_seq in state.unanalysed
    if not late and (message is None or message.analysis_seq is not None):
        return ()
    return (
        _message_analysed(
            stamp.envelope(),
            message_seq=command.message_seq,
            mid=command.mid,
            redacted=command.redacted,
            findings=command.findings,
            inferences=command.inferences,
            late=late,
            degraded=command.degraded,
        ),
    )


def _complete(state: Conversation, command: CompleteTurn, stamp: Stamp) -> Events:
    turn = _running(state, command.turn_id, command.attempt)
    if turn is None:
        return ()
    return (
        _turn_completed(
            stamp.envelope(turn),
            turn_id=turn.turn_id,
            attempt=turn.attempt,
            message_seq=turn.message_seq,
            mid=turn.mid,
            text=command.text,
            citations=command.citations,
            usage=command.usage,
            declined=command.declined,
            confidence=command.confidence,
            history_turns=command.history_turns,
            first_token_us=command.first_token_us,
            duration_us=command.duration_us,
            degraded=command.degraded,
        ),
    )


def _fail(state: Conversation, command: FailTurn, stamp: Stamp) -> Events:
    turn = _running(state, command.turn_id, command.attempt)
    return () if turn is None else (_failed(turn, stamp, command.code, command.message),)


def _restart(state: Conversation, command: RestartTurn, stamp: Stamp, policy: Policy) -> Events:
    turn = _running(state, command.turn_id, command.attempt - 1)
    if turn is None:
        return ()
    if command.attempt > policy.attempts_max:
        return (_failed(turn, stamp, "attempts", "the answer failed too often and was given up"),)
    return (TurnRestarted(stamp.envelope(turn), turn.turn_id, command.attempt),)


def _expire(state: Conversation, command: ExpireTurn, stamp: Stamp) -> Events:
    turn = state.turn
    if turn and turn.turn_id == command.turn_id and turn.deadline_at <= stamp.now_us:
        return (_failed(turn, stamp, "deadline", "no answer came in time"),)
    return ()


def _is_overdue(state: Conversation, command: Command, stamp: Stamp) -> bool:
    """Whether the command says that time is up for the message that is next."""
    if not isinstance(command, ExpireAnalysis) or not state.waiting:
        return False
    message = state.waiting[0]
    return (
        message.message_seq == command.message_seq and message.analysis_deadline_at <= stamp.now_us
    )


def _next_turn(state: Conversation, stamp: Stamp, policy: Policy) -> TurnStarted | None:
    """Starts the turn of the message that waits longest, if it can begin now."""
    if state.turn is not None or not state.waiting or state.status == CLOSED:
        return None
    message = state.waiting[0]
    if message.analysis_seq is None and stamp.now_us < message.analysis_deadline_at:
        return None
    return _turn_started(
        stamp.envelope(message),
        turn_id=turn_id(state.tenant_id, state.conversation_id, message.message_seq),
        message_seq=message.message_seq,
        analysis_seq=message.analysis_seq,
        mid=message.mid,
        subject=message.subject,
        context=_earlier(state.context, message.analysis_seq, policy.context_events),
        deadline_at=stamp.now_us + policy.turn_deadline_us,
        owner_epoch=state.owner_epoch,
        config_version=policy.config_version,
        prompt_version=policy.prompt_version,
        model=policy.model,
        degraded=() if message.analysis_seq is not None else ("analysis_expired",),
    )


def _earlier(context: tuple[int, ...], own_seq: int | None, limit: int) -> tuple[int, ...]:
    """The latest `limit` events in view, without the message's own analysis."""
    if own_seq in context:
        at = context.index(own_seq)
        context = context[:at] + context[at + 1 :]
    return context[max(0, len(context) - limit) :]


def _running(state: Conversation, wanted: str, attempt: int) -> OpenTurn | None:
    turn = state.turn
    return turn if turn and turn.turn_id == wanted and turn.attempt == attempt else None


def _failed(turn: OpenTurn, stamp: Stamp, code: str, message: str) -> TurnFailed:
    return TurnFailed(
        stamp.envelope(turn),
        turn_id=turn.turn_id,
        attempt=turn.attempt,
        message_seq=turn.message_seq,
        mid=turn.mid,
        code=code,
        message=message,
    )


def _cancelled(turn: OpenTurn, stamp: Stamp, reason: str) -> TurnCancelled:
    return TurnCancelled(
        stamp.envelope(turn),
        turn_id=turn.turn_id,
        attempt=turn.attempt,
        message_seq=turn.message_seq,
        mid=turn.mid,
        reason=reason,
    )


def _turn_of(command: ClientCommand) -> str | None:
    match command:
        case CancelTurn() | SubmitFeedback():
            return command.turn_id
        case SubmitMessage() | CloseConversation():
            return None
        case _:
            assert_never(command)


def _reject(command: ClientCommand, stamp: Stamp, code: str, message: str) -> Events:
    turn = _turn_of(command)
    # The log is for ever and takes no text in the clear, so what is malformed is not repeated.
    mid = command.mid if is_client_id(command.mid) else None
    return (
        CommandRejected(
            stamp.envelope(),
            command=type(command).__name__,
            code=code,
            message=message,
            mid=mid,
            turn_id=turn if turn is not None and is_client_id(turn) else None,
        ),
    )
