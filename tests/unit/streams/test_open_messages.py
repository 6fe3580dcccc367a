"""The fold of the answering stage: which messages still wait for the end of their turn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[1] / "processors" / "conversation"))

from conversation_story import (
    ANSWERED,
    ANSWERING,
    ASKED,
    QUEUED,
    SECOND_US,
    Later,
    analysed,
    analysis_overdue,
    answered,
    cancels,
    closes,
    gives_up,
    rates,
    restarts,
    says,
    sealed,
    turn_of,
)
from conversation_story import given as conversation

from schemas.events import Event, MessageReceived, TurnRestarted, TurnStarted
from streams.answering.open_messages import WANTED, Begin, End, OpenMessages

FIRST = 100
"""The offset of a log's first event; offsets go up by two, as transactions' markers make them."""


def log(*history: Any) -> list[tuple[int, Event]]:
    return [(FIRST + 2 * n, e) for n, e in enumerate(conversation(*history).events)]


def folded(*history: Any) -> tuple[OpenMessages, list[Begin | End | None]]:
    return fold_log(log(*history))


def fold_log(events: list[tuple[int, Event]]) -> tuple[OpenMessages, list[Begin | End | None]]:
    fold = OpenMessages(FIRST)
    steps = []
    for offset, event in events:
        if isinstance(event, WANTED):
            steps.append(fold.take(event, offset))
        else:
            fold.take_or_pass(None, offset)
    return fold, steps


def asked(steps: list[Begin | End | None]) -> list[str]:
    return [type(step).__name__ for step in steps if step is not None]


def test_an_empty_log_has_nothing_open() -> None:
    fold, _ = folded()
    assert (len(fold), fold.committable, list(fold.begun())) == (0, FIRST, [])


def test_a_message_holds_the_offset_from_its_arrival() -> None:
    fold, steps = folded(*ASKED)
    assert (len(fold), fold.committable) == (1, FIRST + 2)
    assert asked(steps) == []


def test_a_turn_that_starts_asks_for_an_attempt_with_all_its_texts() -> None:
    fold, steps = folded(*ANSWERING)
    (begin,) = (step for step in steps if step is not None)
    assert isinstance(begin, Begin)
    message = begin.message
    assert (message.attempt, message.offset) == (1, FIRST + 2)
    assert message.received.text == sealed("hello")
    assert message.redacted == sealed("redacted")
    assert message.turn is not None
    assert message.turn.turn_id == turn_of(2)
    assert list(fold.begun()) == [message]
    assert fold.committable == FIRST + 2


def test_a_turn_without_analysis_begins_without_redacted_text() -> None:
    _, steps = folded(*ASKED, Later(2 * SECOND_US), analysis_overdue(2))
    (begin,) = (step for step in steps if step is not None)
    assert isinstance(begin, Begin)
    assert begin.message.redacted is None


def test_a_late_analysis_is_kept_for_the_attempts_to_come() -> None:
    fold, _ = folded(*ASKED, Later(2 * SECOND_US), analysis_overdue(2), analysed(2))
    (message,) = fold.begun()
    assert message.redacted == sealed("redacted")


def test_every_end_of_a_turn_lets_the_offset_go() -> None:
    for outcome in (answered(2), gives_up(2), cancels(2), closes()):
        events = log(*ANSWERING, outcome)
        fold, steps = fold_log(events)
        assert steps[-1] == End(turn_of(2)) or steps[-1] is None
        assert End(turn_of(2)) in steps
        assert (len(fold), list(fold.begun())) == (0, [])
        assert fold.committable == events[-1][0] + 1


def test_a_restart_asks_for_an_attempt_of_its_number() -> None:
    fold, steps = folded(*ANSWERING, restarts(2, 2), restarts(2, 3))
    assert asked(steps) == ["Begin", "Begin", "Begin"]
    (message,) = fold.begun()
    assert message.attempt == 3


def test_a_restart_after_the_end_asks_for_nothing() -> None:
    fold = OpenMessages()
    started = conversation(*ANSWERING, restarts(2)).events
    (restarted,) = (e for e in started if isinstance(e, TurnRestarted))
    assert fold.take(restarted, 5) is None
    assert fold.committable == 6


def test_a_waiting_message_holds_the_offset_when_the_one_before_it_is_done() -> None:
    events = log(*QUEUED, answered(2))
    fold, _ = fold_log(events)
    (second,) = (o for o, e in events if isinstance(e, MessageReceived) and e.mid == "m-2")
    assert (len(fold), fold.committable) == (1, second)


def test_a_refused_message_is_over_though_it_had_no_turn() -> None:
    fold, steps = folded(*QUEUED, closes())
    assert asked(steps) == ["Begin", "End"]
    assert len(fold) == 0


def test_feedback_and_rejections_pass_by() -> None:
    events = log(*ANSWERED, rates(2), says("m-1", "another body"))
    fold, _ = fold_log(events)
    assert fold.committable == events[-1][0] + 1


def test_conversations_are_told_apart() -> None:
    fold = OpenMessages()
    events = conversation(*ANSWERING).events
    offset = 0
    for tenant, place in (("demo", "c-1"), ("demo", "c-2"), ("other", "c-1")):
        for event in events:
            moved = replace(event.envelope, tenant_id=tenant, conversation_id=place)
            if isinstance(event, MessageReceived):
                fold.take(replace(event, envelope=moved), offset)
            offset += 1
    assert len(fold) == 3
    (started,) = (e for e in events if isinstance(e, TurnStarted))
    begin = fold.take(started, offset)
    assert isinstance(begin, Begin)
    assert begin.message.received.envelope.conversation_id == "c-1"
    assert begin.message.received.envelope.tenant_id == "demo"


STEPS = st.lists(
    st.sampled_from(
        [
            *(says(f"m-{n}") for n in range(4)),
            *(
                make(seq)
                for seq in range(2, 12)
                for make in (analysed, answered, gives_up, restarts)
            ),
            *(analysis_overdue(seq) for seq in range(2, 12)),
            Later(2 * SECOND_US),
            closes(),
        ]
    ),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS, st.data())
def test_a_successor_that_reads_from_the_committed_offset_knows_the_same(
    steps: list[Any], data: st.DataObject
) -> None:
    events = log(*steps)
    cut = data.draw(st.integers(0, len(events)))
    fold, _ = fold_log(events[:cut])
    heir = OpenMessages(fold.committable)
    for offset, event in events:
        if offset >= fold.committable:
            if isinstance(event, WANTED):
                heir.take(event, offset)
            else:
                heir.take_or_pass(None, offset)
    whole, _ = fold_log(events)
    assert list(heir.begun()) == list(whole.begun())
    assert len(heir) == len(whole)
    assert heir.committable == whole.committable
