"""Messages, their analysis, and what a conversation refuses."""

from __future__ import annotations

from dataclasses import replace
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
    STRANGER,
    Later,
    an,
    analysed,
    analysis_overdue,
    answered,
    cancels,
    closes,
    elsewhere,
    given,
    rates,
    says,
    sealed,
    turn_of,
)

from processors.conversation.policy import Policy
from processors.conversation.state import CLOSED as CLOSED_STATUS
from schemas.events import (
    CommandRejected,
    ConversationClosed,
    ConversationStarted,
    FeedbackReceived,
    MessageAnalysed,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnRefused,
    TurnStarted,
)
from schemas.failures import Invalid

INTERRUPT = Policy(interrupt=True)

# Messages


def test_the_first_message_starts_the_conversation_and_fixes_its_owner() -> None:
    given().when(says("m-1")).then(
        an(ConversationStarted, owner=OWNER, actor=OWNER),
        an(
            MessageReceived,
            mid="m-1",
            text=sealed("hello"),
            analysis_deadline_at=START_US + 2 * SECOND_US,
            correlation_id="corr-m-1",
            traceparent="trace-m-1",
            body_hmac=says("m-1").envelope.body_hmac,
        ),
    )


def test_a_message_after_an_answer_only_adds_itself() -> None:
    given(*ANSWERED).when(says("m-2")).then(an(MessageReceived, mid="m-2", seq=6))


def test_a_second_message_waits_for_the_open_answer() -> None:
    given(*ANSWERING).when(says("m-2")).then(MessageReceived)
    given(*QUEUED, analysed(5, "m-2")).when(answered(2)).then(
        TurnCompleted, an(TurnStarted, message_seq=5, mid="m-2", analysis_seq=6)
    )


def test_a_second_message_interrupts_the_open_answer_where_the_tenant_wants_it() -> None:
    story = given(*ANSWERING, policy=INTERRUPT)
    story.when(says("m-2")).then(
        an(MessageReceived, mid="m-2"),
        an(TurnCancelled, reason="interrupted", turn_id=turn_of(2), correlation_id="corr-m-1"),
    )
    story.when(analysed(5, "m-2")).then(MessageAnalysed, an(TurnStarted, message_seq=5))


def test_an_interrupting_message_lets_an_analysed_one_before_it_go_first() -> None:
    queued = given(*QUEUED, analysed(5, "m-2"))
    queued.policy = INTERRUPT
    queued.when(says("m-3")).then(MessageReceived, TurnCancelled, an(TurnStarted, message_seq=5))


def test_without_an_open_answer_there_is_nothing_to_interrupt() -> None:
    given(*ASKED, policy=INTERRUPT).when(says("m-2")).then(MessageReceived)


def test_messages_are_answered_in_the_order_they_came() -> None:
    story = given(*ASKED, says("m-2"), analysed(3, "m-2"))
    story.then(an(MessageAnalysed, message_seq=3))
    story.when(analysed(2)).then(MessageAnalysed, an(TurnStarted, message_seq=2))
    story.when(answered(2)).then(TurnCompleted, an(TurnStarted, message_seq=3))


def test_only_so_many_messages_may_wait() -> None:
    story = given(*[says(f"m-{n}") for n in range(3)], policy=Policy(waiting_max=3))
    story.when(says("m-9")).then(an(CommandRejected, code="too_many_waiting", mid="m-9"))
    # The rejection is the one effect of that command; another try needs a name of its own.
    story.when(analysed(2, "m-0")).then(MessageAnalysed, TurnStarted)
    story.when(says("m-9")).then_nothing()
    story.when(says("m-10")).then(MessageReceived)


# Repetition and conflict


@pytest.mark.parametrize("history", [ASKED, ANSWERING, ANSWERED, QUEUED, CLOSED])
def test_the_same_message_again_changes_nothing(history: tuple[Any, ...]) -> None:
    given(*history).when(says("m-1")).then_nothing()


@pytest.mark.parametrize("history", [ASKED, ANSWERING, ANSWERED, QUEUED, CLOSED])
def test_the_same_mid_with_another_body_is_a_conflict(history: tuple[Any, ...]) -> None:
    story = given(*history)
    story.when(says("m-1", "something else")).then(
        an(CommandRejected, command="SubmitMessage", code="conflict", mid="m-1", turn_id=None)
    )
    story.when(says("m-1", "something else")).then_nothing()
    story.when(says("m-1", "a third body")).then(an(CommandRejected, code="conflict"))
    story.when(says("m-1")).then_nothing()


def test_the_same_mid_may_name_commands_of_different_kinds() -> None:
    given(*ANSWERING).when(cancels(2, mid="m-1")).then(TurnCancelled)


def test_somebody_elses_mid_is_no_conflict() -> None:
    given(*ASKED).when(says("m-1", actor=STRANGER)).then(an(CommandRejected, code="forbidden"))


@pytest.mark.parametrize(
    "command", [says("m-1"), cancels(2), rates(2), closes()], ids=lambda c: type(c).__name__
)
def test_every_command_of_a_person_has_one_effect_however_often_it_comes(command: Any) -> None:
    story = given(*ANSWERED).when(command)
    for _ in range(3):
        story.when(command).then_nothing()
    story.when(Later(3600 * SECOND_US), command).then_nothing()


# Refusals


@pytest.mark.parametrize(
    "command",
    [
        says("m-9", actor=STRANGER),
        cancels(2, actor=STRANGER),
        rates(2, actor=STRANGER),
        closes(actor=STRANGER),
    ],
    ids=lambda c: type(c).__name__,
)
@pytest.mark.parametrize("history", [ASKED, ANSWERING, ANSWERED, CLOSED])
def test_nobody_but_the_owner_has_a_say(history: tuple[Any, ...], command: Any) -> None:
    story = given(*history)
    before = replace(story.state, seq=0, strangers=())
    story.when(command).then(
        an(CommandRejected, command=type(command).__name__, code="forbidden", actor=STRANGER)
    )
    assert replace(story.state, seq=0, strangers=()) == before


BAD_MIDS = ["", "m 1", "m:1", "ä", "x" * 65, "my card is 4111 1111 1111 1111"]


@pytest.mark.parametrize("mid", BAD_MIDS)
@pytest.mark.parametrize("history", [(), ANSWERED])
def test_a_malformed_mid_is_refused_and_not_repeated_in_the_log(
    history: tuple[Any, ...], mid: str
) -> None:
    for command in (says(mid), cancels(2, mid=mid), rates(2, mid=mid), closes(mid)):
        story = given(*history)
        story.when(command).then(an(CommandRejected, code="bad_mid", mid=None))
        story.when(command).then_nothing()


def test_a_turn_id_that_is_none_is_not_repeated_in_the_log() -> None:
    command = replace(cancels(2), turn_id="my card is 4111 1111 1111 1111")
    given(*ANSWERED).when(command).then(an(CommandRejected, code="unknown_turn", turn_id=None))


def test_a_rejected_first_command_leaves_the_conversation_to_whoever_comes() -> None:
    story = given(says("not a mid", actor=STRANGER))
    story.then(an(CommandRejected, seq=1))
    story.when(says("m-1")).then(an(ConversationStarted, seq=2, owner=OWNER), MessageReceived)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body_hmac": None}, "body_hmac"),
        ({"body_hmac": b""}, "body_hmac"),
        ({"body_hmac": bytes(15)}, "body_hmac"),
        ({"body_hmac": bytes(32)}, "body_hmac"),
        ({"command_id": ""}, "identifier"),
        ({"command_id": "no uuid"}, "identifier"),
        ({"command_id": "00"}, "identifier"),
        ({"command_id": "0" * 36}, "identifier"),
        ({"tenant_id": "Demo"}, "identifier"),
        ({"tenant_id": ""}, "identifier"),
        ({"conversation_id": "a b"}, "identifier"),
        ({"conversation_id": "x" * 65}, "identifier"),
    ],
)
@pytest.mark.parametrize(
    "command", [says("m-9"), cancels(2), rates(2), closes()], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize("history", [(), ANSWERED], ids=["new", "begun"])
def test_what_no_gateway_would_write_is_poison(
    history: tuple[Any, ...], command: Any, changes: dict[str, Any], code: str
) -> None:
    story = given(*history)
    before = list(story.events)
    with pytest.raises(Invalid) as caught:
        story.when(elsewhere(command, **changes))
    assert caught.value.code == code
    assert story.events == before


# Analysis


def test_an_analysis_is_recorded_and_the_turn_starts() -> None:
    given(*ASKED).when(analysed(2)).then(
        an(
            MessageAnalysed,
            message_seq=2,
            mid="m-1",
            redacted=sealed("redacted"),
            late=False,
            inferences=analysed(2).inferences,
            correlation_id="corr-of-analysis",
        ),
        an(
            TurnStarted,
            turn_id=turn_of(2),
            message_seq=2,
            analysis_seq=3,
            mid="m-1",
            subject=OWNER,
            context=(),
            deadline_at=START_US + 60 * SECOND_US,
            owner_epoch=1,
            config_version="default",
            prompt_version="grounded/1",
            model="grounded",
            degraded=(),
            correlation_id="corr-m-1",
            traceparent="trace-m-1",
        ),
    )


def test_an_analysis_of_a_queued_message_starts_nothing_yet() -> None:
    given(*QUEUED).when(analysed(5, "m-2")).then(an(MessageAnalysed, late=False))


@pytest.mark.parametrize("history", [ANSWERING, ANSWERED, QUEUED, CLOSED])
def test_a_second_analysis_changes_nothing(history: tuple[Any, ...]) -> None:
    given(*history).when(analysed(2)).then_nothing()


@pytest.mark.parametrize("message_seq", [-1, 0, 1, 3, 4, 99])
@pytest.mark.parametrize("history", [(), ASKED, ANSWERING, ANSWERED])
def test_an_analysis_of_no_message_changes_nothing(
    history: tuple[Any, ...], message_seq: int
) -> None:
    given(*history).when(analysed(message_seq)).then_nothing()


def test_a_late_analysis_is_recorded_and_starts_nothing() -> None:
    story = given(*ASKED, Later(2 * SECOND_US), analysis_overdue(2))
    story.when(analysed(2)).then(an(MessageAnalysed, late=True, message_seq=2))
    story.when(analysed(2)).then_nothing()
    story.when(answered(2)).then(TurnCompleted)


def test_a_late_analysis_after_the_answer_is_recorded_too() -> None:
    story = given(*ASKED, Later(2 * SECOND_US), analysis_overdue(2), answered(2), says("m-2"))
    story.when(analysed(2)).then(an(MessageAnalysed, late=True))
    assert story.state.waiting[0].analysis_seq is None


def test_a_context_lists_what_was_analysed_and_answered_but_not_the_message_itself() -> None:
    story = given(*ANSWERED, says("m-2")).when(analysed(6, "m-2"))
    story.then(MessageAnalysed, an(TurnStarted, context=(3, 5), analysis_seq=7))


def test_a_context_lists_what_later_messages_brought_before_the_turn_began() -> None:
    story = given(*QUEUED, says("m-3"), analysed(5, "m-2"), analysed(6, "m-3"))
    story.when(answered(2))
    story.then(TurnCompleted, an(TurnStarted, context=(3, 8, 9), analysis_seq=7, message_seq=5))


@pytest.mark.parametrize(("size", "context"), [(0, ()), (1, (5,)), (2, (3, 5)), (99, (3, 5))])
def test_a_context_is_as_long_as_the_policy_says(size: int, context: tuple[int, ...]) -> None:
    story = given(*ANSWERED, says("m-2"), policy=Policy(context_events=size))
    story.when(analysed(6, "m-2")).then(MessageAnalysed, an(TurnStarted, context=context))


# Feedback


@pytest.mark.parametrize("score", [1, -1])
def test_a_finished_answer_can_be_rated(score: int) -> None:
    given(*ANSWERED).when(rates(2, score, comment="so so")).then(
        an(
            FeedbackReceived,
            turn_id=turn_of(2),
            score=score,
            comment=sealed("so so"),
            mid="rate-1",
        )
    )


@pytest.mark.parametrize("score", [0, 2, -2, 5])
def test_a_score_is_one_up_or_one_down(score: int) -> None:
    given(*ANSWERED).when(rates(2, score)).then(
        an(CommandRejected, command="SubmitFeedback", code="bad_score", turn_id=turn_of(2))
    )


@pytest.mark.parametrize("history", [(), ASKED, ANSWERING])
def test_an_answer_that_is_not_finished_can_not_be_rated(history: tuple[Any, ...]) -> None:
    given(*history).when(rates(2)).then(an(CommandRejected, code="unknown_turn"))


def test_a_cancelled_answer_can_be_rated_and_twice() -> None:
    story = given(*ANSWERING, cancels(2))
    story.when(rates(2, 1, mid="r-1")).then(FeedbackReceived)
    story.when(rates(2, -1, mid="r-2")).then(FeedbackReceived)


def test_feedback_starts_nothing_and_ends_nothing() -> None:
    given(*ANSWERED, says("m-2"), analysed(6, "m-2")).when(rates(2)).then(FeedbackReceived)


# Closing


def test_a_conversation_can_be_closed() -> None:
    story = given(*ANSWERED).when(closes())
    story.then(an(ConversationClosed, mid="close-1", seq=6))
    assert story.state.status == CLOSED_STATUS


def test_closing_cancels_the_open_answer_and_refuses_what_waits() -> None:
    story = given(*QUEUED, says("m-3")).when(closes())
    story.then(
        an(TurnCancelled, reason="closed", turn_id=turn_of(2), correlation_id="corr-m-1"),
        an(TurnRefused, message_seq=5, mid="m-2", code="closed", correlation_id="corr-m-2"),
        an(TurnRefused, message_seq=6, mid="m-3", code="closed", correlation_id="corr-m-3"),
        an(ConversationClosed, correlation_id="corr-close-1"),
    )
    assert (story.state.turn, story.state.waiting) == (None, ())


def test_a_message_that_waits_for_its_analysis_is_refused_when_it_closes() -> None:
    given(*ASKED).when(closes()).then(an(TurnRefused, message_seq=2), ConversationClosed)


def test_what_never_began_can_not_be_closed() -> None:
    given().when(closes()).then(an(CommandRejected, code="unknown_conversation"))


@pytest.mark.parametrize("command", [says("m-9"), closes("close-2")], ids=["message", "close"])
def test_a_closed_conversation_takes_nothing_more(command: Any) -> None:
    given(*CLOSED).when(command).then(an(CommandRejected, code="closed"))


def test_a_closed_conversation_keeps_only_a_stub() -> None:
    story = given(*CLOSED)
    state = story.state
    assert (state.seq, state.owner) == (6, OWNER)
    assert (state.context, state.ended, state.waiting, state.turn) == ((), (), (), None)
    story.when(rates(2)).then(an(CommandRejected, code="unknown_turn"))


def test_what_stages_still_send_to_a_closed_conversation_changes_nothing() -> None:
    story = given(*QUEUED, closes())
    for late in (answered(2), analysed(5, "m-2"), analysis_overdue(5)):
        story.when(Later(100 * SECOND_US), late).then_nothing()
