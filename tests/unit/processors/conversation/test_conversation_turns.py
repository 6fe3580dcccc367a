"""Turns: how they begin, end, start anew, and are given up when time is up."""

from __future__ import annotations

from typing import Any

import pytest
from conversation_story import (
    ANSWERED,
    ANSWERING,
    ASKED,
    CLOSED,
    OWNER,
    QUEUED,
    SECOND_US,
    START_US,
    Later,
    Story,
    an,
    analysed,
    analysis_overdue,
    answered,
    cancels,
    closes,
    elsewhere,
    given,
    gives_up,
    restarts,
    says,
    sealed,
    turn_of,
    turn_overdue,
)

from processors.conversation.policy import Policy
from processors.conversation.timers import expiries, next_deadline_us
from schemas.events import (
    CommandRejected,
    MessageAnalysed,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRestarted,
    TurnStarted,
)

ANALYSIS_US, TURN_US = 2 * SECOND_US, 60 * SECOND_US

# Completion and failure


def test_an_answer_completes_its_turn() -> None:
    given(*ANSWERING).when(answered(2)).then(
        an(
            TurnCompleted,
            turn_id=turn_of(2),
            attempt=1,
            message_seq=2,
            mid="m-1",
            text=sealed("an answer"),
            declined=False,
            confidence=0.9,
            duration_us=9000,
            correlation_id="corr-m-1",
            traceparent="trace-m-1",
            actor="answering",
        )
    )


def test_an_attempt_that_gives_up_fails_its_turn() -> None:
    given(*ANSWERING).when(gives_up(2)).then(
        an(TurnFailed, turn_id=turn_of(2), attempt=1, code="provider", message_seq=2, mid="m-1")
    )


OUTCOMES = [answered(2), gives_up(2), cancels(2), turn_overdue(2)]


@pytest.mark.parametrize("first", OUTCOMES, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("second", OUTCOMES, ids=lambda c: type(c).__name__)
def test_a_turn_ends_once_whatever_comes_after(first: Any, second: Any) -> None:
    story = given(*ANSWERING, Later(TURN_US), first)
    assert len(story.latest) == 1
    story.when(second)
    assert [e for e in story.latest if not isinstance(e, CommandRejected)] == []


RESULTS = [answered(2), gives_up(2), turn_overdue(2), restarts(2)]


@pytest.mark.parametrize("result", RESULTS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("history", [(), ASKED, ANSWERED, CLOSED])
def test_without_an_open_turn_a_stages_result_changes_nothing(
    history: tuple[Any, ...], result: Any
) -> None:
    given(*history, Later(TURN_US)).when(result).then_nothing()


def test_whatever_is_recorded_lets_an_overdue_message_begin() -> None:
    given(*ASKED, Later(ANALYSIS_US)).when(cancels(2)).then(
        an(CommandRejected, code="unknown_turn"), an(TurnStarted, message_seq=2)
    )


@pytest.mark.parametrize("attempt", [-1, 0, 2, 3])
@pytest.mark.parametrize("result", [answered, gives_up])
def test_a_result_of_another_attempt_changes_nothing(result: Any, attempt: int) -> None:
    given(*ANSWERING).when(result(2, attempt)).then_nothing()


@pytest.mark.parametrize("result", [answered, gives_up])
def test_a_result_of_another_turn_changes_nothing(result: Any) -> None:
    given(*QUEUED).when(result(5)).then_nothing()


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda c: type(c).__name__)
def test_the_next_message_gets_its_turn_when_one_ends(outcome: Any) -> None:
    story = given(*QUEUED, analysed(5, "m-2"), Later(TURN_US)).when(outcome)
    assert [type(e) for e in story.latest][1:] == [TurnStarted]
    story.then(
        type(story.latest[0]),
        an(
            TurnStarted,
            message_seq=5,
            deadline_at=story.now_us + TURN_US,
            correlation_id="corr-m-2",
        ),
    )


def test_an_answer_enters_the_context_and_a_failure_does_not() -> None:
    answered_story = given(*ANSWERED, says("m-2")).when(analysed(6, "m-2"))
    answered_story.then(MessageAnalysed, an(TurnStarted, context=(3, 5)))
    failed_story = given(*ANSWERING, gives_up(2), says("m-2")).when(analysed(6, "m-2"))
    failed_story.then(MessageAnalysed, an(TurnStarted, context=(3,)))


# Restarts


def test_a_new_attempt_is_logged_and_only_its_result_counts() -> None:
    story = given(*ANSWERING)
    story.when(restarts(2, attempt=2)).then(
        an(TurnRestarted, turn_id=turn_of(2), attempt=2, correlation_id="corr-m-1")
    )
    story.when(answered(2, attempt=1)).then_nothing()
    story.when(gives_up(2, attempt=1)).then_nothing()
    story.when(answered(2, attempt=2)).then(an(TurnCompleted, attempt=2))


@pytest.mark.parametrize("attempt", [-1, 0, 1, 3, 4])
def test_attempts_are_counted_without_gaps(attempt: int) -> None:
    given(*ANSWERING).when(restarts(2, attempt)).then_nothing()


def test_a_restart_asked_for_twice_happens_once() -> None:
    story = given(*ANSWERING, restarts(2, 2)).when(restarts(2, 2)).then_nothing()
    assert story.state.turn is not None
    assert story.state.turn.attempt == 2


def test_a_restart_keeps_the_deadline_of_the_turn() -> None:
    story = given(*ANSWERING, Later(30 * SECOND_US), restarts(2))
    assert story.state.turn is not None
    assert story.state.turn.deadline_at == START_US + TURN_US


def test_a_turn_that_was_tried_too_often_fails() -> None:
    story = given(*QUEUED, analysed(5, "m-2"), policy=Policy(attempts_max=3))
    story.when(restarts(2, 2)).then(TurnRestarted)
    story.when(restarts(2, 3)).then(TurnRestarted)
    story.when(restarts(2, 4)).then(
        an(TurnFailed, code="attempts", attempt=3), an(TurnStarted, message_seq=5)
    )


# Cancelling


def test_a_person_can_stop_the_answer() -> None:
    given(*ANSWERING).when(cancels(2)).then(
        an(
            TurnCancelled,
            turn_id=turn_of(2),
            attempt=1,
            reason="client",
            mid="m-1",
            message_seq=2,
            correlation_id="corr-m-1",
            actor=OWNER,
        )
    )


def test_stopping_after_a_restart_names_the_running_attempt() -> None:
    given(*ANSWERING, restarts(2)).when(cancels(2)).then(an(TurnCancelled, attempt=2))


@pytest.mark.parametrize("history", [ANSWERED, (*ANSWERING, gives_up(2))])
def test_an_answer_that_is_over_can_not_be_stopped(history: tuple[Any, ...]) -> None:
    given(*history).when(cancels(2)).then(
        an(CommandRejected, command="CancelTurn", code="turn_over", turn_id=turn_of(2))
    )


@pytest.mark.parametrize(
    ("history", "message_seq"), [((), 2), (ASKED, 2), (ANSWERING, 5), (QUEUED, 5)]
)
def test_an_answer_that_did_not_begin_can_not_be_stopped(
    history: tuple[Any, ...], message_seq: int
) -> None:
    given(*history).when(cancels(message_seq)).then(an(CommandRejected, code="unknown_turn"))


# Deadlines


def test_a_turn_starts_degraded_when_its_analysis_is_overdue() -> None:
    given(*ASKED, Later(ANALYSIS_US)).when(analysis_overdue(2)).then(
        an(
            TurnStarted,
            message_seq=2,
            analysis_seq=None,
            degraded=("analysis_expired",),
            correlation_id="corr-m-1",
            actor="timer",
        )
    )


def test_an_analysis_is_not_overdue_before_its_deadline() -> None:
    given(*ASKED, Later(ANALYSIS_US - 1)).when(analysis_overdue(2)).then_nothing()


@pytest.mark.parametrize("history", [(), ANSWERING, ANSWERED, CLOSED])
def test_an_expiry_that_no_longer_applies_changes_nothing(history: tuple[Any, ...]) -> None:
    given(*history, Later(100 * SECOND_US)).when(analysis_overdue(2)).then_nothing()


def test_an_overdue_analysis_starts_nothing_while_a_turn_is_open() -> None:
    story = given(*QUEUED, Later(ANALYSIS_US)).when(analysis_overdue(5)).then_nothing()
    story.when(answered(2)).then(
        TurnCompleted, an(TurnStarted, message_seq=5, degraded=("analysis_expired",))
    )


def test_an_expiry_speaks_for_its_own_message_only() -> None:
    """Repeated late, it would start another message's turn under the first one's event id."""
    story = given(*ASKED, Later(ANALYSIS_US), analysis_overdue(2), answered(2), says("m-2"))
    story.when(Later(ANALYSIS_US), analysis_overdue(2)).then_nothing()
    story.when(analysis_overdue(5)).then(an(TurnStarted, message_seq=5))


def test_a_turn_past_its_deadline_fails() -> None:
    given(*ANSWERING, Later(TURN_US)).when(turn_overdue(2)).then(
        an(TurnFailed, code="deadline", turn_id=turn_of(2), attempt=1, actor="timer")
    )


def test_a_turn_does_not_fail_before_its_deadline() -> None:
    story = given(*ANSWERING, Later(TURN_US - 1)).when(turn_overdue(2)).then_nothing()
    story.when(Later(1), turn_overdue(2)).then(TurnFailed)


def test_a_turn_past_its_deadline_can_still_be_completed_until_it_is_expired() -> None:
    given(*ANSWERING, Later(10 * TURN_US)).when(answered(2)).then(TurnCompleted)


def test_an_expiry_of_another_turn_changes_nothing() -> None:
    given(*QUEUED, Later(TURN_US)).when(turn_overdue(5)).then_nothing()


# Timers


def test_nothing_is_due_where_nothing_is_pending() -> None:
    for history in ((), ANSWERED, CLOSED):
        state = given(*history).state
        assert next_deadline_us(state) is None
        assert expiries(state, 2**62) == ()


@pytest.mark.parametrize(
    ("history", "deadline_us", "follows"),
    [(ASKED, START_US + ANALYSIS_US, TurnStarted), (ANSWERING, START_US + TURN_US, TurnFailed)],
)
def test_a_timer_goes_off_at_the_deadline_and_its_command_takes_effect(
    history: tuple[Any, ...], deadline_us: int, follows: type
) -> None:
    story = given(*history)
    assert next_deadline_us(story.state) == deadline_us
    assert expiries(story.state, deadline_us - 1) == ()
    (command,) = expiries(story.state, deadline_us)
    assert (command,) == expiries(story.state, deadline_us)
    story.when(Later(deadline_us - START_US), command).then(an(follows, correlation_id="corr-m-1"))
    story.when(command).then_nothing()


def test_an_expiry_issued_again_later_is_the_same_command() -> None:
    state = given(*ASKED).state
    (first,) = expiries(state, START_US + ANALYSIS_US)
    (again,) = expiries(state, START_US + 2 * ANALYSIS_US)
    assert first.envelope.command_id == again.envelope.command_id


def test_a_message_behind_an_open_turn_waits_for_that_turns_deadline() -> None:
    state = given(*QUEUED).state
    assert next_deadline_us(state) == START_US + TURN_US


def due_commands(story: Story) -> Story:
    for command in expiries(story.state, story.now_us):
        story.when(command)
    return story


def test_with_nobody_but_the_timer_every_message_comes_to_its_end() -> None:
    story = given(says("m-1"), says("m-2"), says("m-3"))
    for _ in range(10):
        deadline_us = next_deadline_us(story.state)
        if deadline_us is None:
            break
        story.now_us = max(story.now_us, deadline_us)
        due_commands(story)
    assert [type(e) for e in story.events[4:]] == [TurnStarted, TurnFailed] * 3
    assert story.state.waiting == ()


def test_the_log_tells_which_commands_were_handled() -> None:
    """An heir who folds the log must know the repetitions, so the HMAC is in every event."""
    story = given(*ANSWERING, cancels(2), closes())
    assert story.events[1].envelope.body_hmac == says("m-1").envelope.body_hmac
    assert story.events[2].envelope.body_hmac is None
    story.when(cancels(2)).then_nothing()


def test_events_of_one_command_share_its_trace_but_turns_belong_to_their_message() -> None:
    story = given(*ANSWERING, elsewhere(says("m-2"), traceparent="other"))
    story.then(an(MessageReceived, traceparent="other"))
    story.when(analysed(5, "m-2"), answered(2))
    story.then(an(TurnCompleted, traceparent="trace-m-1"), an(TurnStarted, traceparent="other"))
