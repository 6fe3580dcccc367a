"""What holds for every conversation, whatever comes in whatever order and however often."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from conversation_story import (
    CONVERSATION,
    STRANGER,
    TENANT,
    Story,
    an,
    analysed,
    analysis_overdue,
    answered,
    cancels,
    closes,
    given,
    gives_up,
    rates,
    restarts,
    says,
    turn_of,
    turn_overdue,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processors.conversation.admission import ClientCommand
from processors.conversation.decide import decide
from processors.conversation.evolve import evolve
from processors.conversation.policy import Policy
from processors.conversation.state import (
    CONTEXT_MAX,
    ENDED_MAX,
    ENTRY_BYTES,
    HANDLED_MAX,
    ID_BYTES,
    handled_entry,
    has_handled,
    has_handled_otherwise,
    new_conversation,
    upcast,
)
from processors.conversation.timers import expiries, next_deadline_us
from schemas.codec import RecordCodec
from schemas.commands import Command
from schemas.events import (
    CommandRejected,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRefused,
    TurnRestarted,
    TurnStarted,
)
from schemas.records import ConversationSnapshot, FinishedTurn

OUTCOMES = (TurnCompleted, TurnFailed, TurnCancelled)
SNAPSHOTS = RecordCodec(ConversationSnapshot)

policies = st.builds(
    Policy,
    analysis_deadline_us=st.sampled_from((1, 2_000_000)),
    turn_deadline_us=st.sampled_from((1, 60_000_000)),
    interrupt=st.booleans(),
    waiting_max=st.integers(1, 4),
    context_events=st.integers(0, 4),
    attempts_max=st.integers(1, 4),
)
places = st.integers(0, 7)
attempts = st.integers(0, 5)


class ConversationLife(RuleBasedStateMachine):
    """Everybody who sends commands, in any order; `Story` checks every single decision."""

    story: Story
    sent: list[tuple[Command, bool]]
    """Every command, and whether it can have no effect any more."""

    @initialize(policy=policies)
    def begin(self, policy: Policy) -> None:
        self.story = Story(policy)
        self.sent = []
        self.mids = 0

    def send(self, command: Command) -> None:
        self.story.when(command)
        self.sent.append((command, bool(self.story.latest) or isinstance(command, ClientCommand)))

    def messages(self) -> list[int]:
        return [e.envelope.seq for e in self.story.events if isinstance(e, MessageReceived)]

    def message(self, place: int) -> int:
        """One of the messages, or one that does not exist."""
        known = [*self.messages(), 99]
        return known[place % len(known)]

    def new_mid(self) -> str:
        self.mids += 1
        return f"m-{self.mids}"

    @rule()
    def the_owner_writes(self) -> None:
        self.send(says(self.new_mid()))

    @rule(place=places)
    def a_mid_is_used_again_and_a_stranger_interferes(self, place: int) -> None:
        self.send(says(f"m-{place}", "another body"))
        self.send(says(self.new_mid(), actor=STRANGER))
        self.send(cancels(self.message(place), mid=self.new_mid(), actor=STRANGER))

    @rule(place=places)
    def a_message_is_analysed(self, place: int) -> None:
        self.send(analysed(self.message(place)))

    @precondition(lambda self: self.story.state.waiting)
    @rule()
    def the_next_message_is_analysed(self) -> None:
        self.send(analysed(self.story.state.waiting[0].message_seq))

    @rule(place=places, attempt=attempts, result=st.sampled_from((answered, gives_up, restarts)))
    def an_attempt_ends(self, place: int, attempt: int, result: Any) -> None:
        self.send(result(self.message(place), attempt))

    @precondition(lambda self: self.story.state.turn)
    @rule()
    def the_open_turn_is_answered(self) -> None:
        turn = self.story.state.turn
        assert turn is not None
        self.send(answered(turn.message_seq, turn.attempt))

    @precondition(lambda self: self.story.state.turn)
    @rule()
    def a_worker_takes_the_open_turn_over(self) -> None:
        turn = self.story.state.turn
        assert turn is not None
        self.send(restarts(turn.message_seq, turn.attempt + 1))

    @rule(place=places, score=st.integers(-2, 2))
    def the_owner_cancels_and_rates(self, place: int, score: int) -> None:
        self.send(cancels(self.message(place), mid=self.new_mid()))
        self.send(rates(self.message(place), score, mid=self.new_mid()))

    @rule(place=places)
    def a_timer_is_wrong(self, place: int) -> None:
        self.send(analysis_overdue(self.message(place)))
        self.send(turn_overdue(self.message(place)))

    @rule(us=st.sampled_from((0, 1, 1_999_999, 2_000_000, 60_000_000)))
    def time_goes_by(self, us: int) -> None:
        self.story.now_us += us

    @precondition(lambda self: next_deadline_us(self.story.state) is not None)
    @rule()
    def the_next_deadline_passes(self) -> None:
        deadline_us = next_deadline_us(self.story.state)
        assert deadline_us is not None
        self.story.now_us = max(self.story.now_us, deadline_us)

    @precondition(lambda self: expiries(self.story.state, self.story.now_us))
    @rule()
    def the_timer_goes_off(self) -> None:
        for command in expiries(self.story.state, self.story.now_us):
            self.send(command)
            assert self.story.latest

    @precondition(lambda self: len(self.sent) > 20)
    @rule()
    def the_owner_closes(self) -> None:
        self.send(closes(self.new_mid()))

    @invariant()
    def whatever_comes_again_changes_nothing(self) -> None:
        story = self.story
        for command in [command for command, over in self.sent if over]:
            assert decide(story.state, command, story.now_us, story.policy) == ((), story.state)

    @invariant()
    def the_state_is_the_fold_of_the_log(self) -> None:
        state = reduce(evolve, self.story.events, new_conversation(TENANT, CONVERSATION))
        assert state == self.story.state

    @invariant()
    def the_snapshot_is_the_state(self) -> None:
        assert SNAPSHOTS.decode(SNAPSHOTS.encode(self.story.state)) == self.story.state

    @invariant()
    def one_turn_is_open_at_most_and_ends_once(self) -> None:
        open_turn: str | None = None
        attempt, seen = 0, set()
        for event in self.story.events:
            if isinstance(event, TurnStarted):
                assert open_turn is None
                assert event.turn_id not in seen
                open_turn, attempt = event.turn_id, 1
                seen.add(event.turn_id)
            elif isinstance(event, TurnRestarted):
                assert (open_turn, attempt) == (event.turn_id, event.attempt - 1)
                attempt = event.attempt
            elif isinstance(event, OUTCOMES):
                assert (open_turn, attempt) == (event.turn_id, event.attempt)
                open_turn = None
        turn = self.story.state.turn
        assert open_turn == (turn.turn_id if turn else None)

    @invariant()
    def something_pending_has_a_deadline(self) -> None:
        state = self.story.state
        assert (next_deadline_us(state) is not None) == bool(state.turn or state.waiting)

    def teardown(self) -> None:
        if hasattr(self, "story"):
            self._let_all_time_pass()
            self._every_message_came_to_its_end()

    def _let_all_time_pass(self) -> None:
        story = self.story
        while (deadline_us := next_deadline_us(story.state)) is not None:
            story.now_us = max(story.now_us, deadline_us)
            for command in expiries(story.state, story.now_us):
                story.when(command)
                assert story.latest, "an expiry that is due must move the conversation on"

    def _every_message_came_to_its_end(self) -> None:
        events = self.story.events
        begun = Counter(e.message_seq for e in events if isinstance(e, TurnStarted | TurnRefused))
        assert begun == Counter(self.messages())
        ended = Counter(e.turn_id for e in events if isinstance(e, OUTCOMES))
        assert ended == Counter(e.turn_id for e in events if isinstance(e, TurnStarted))


ConversationLife.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestConversationLife = ConversationLife.TestCase

# Bounds


def entry(number: int) -> bytes:
    return handled_entry(says(f"m-{number}").envelope.command_id, bytes(16))


def many_rejected(count: int) -> Story:
    """A conversation that remembers `m-1` and then `count` commands more."""
    story = given(says("m-1"))
    return story.when(*(cancels(9, mid=f"x-{n}") for n in range(count)))


def test_the_latest_128_commands_of_people_are_remembered() -> None:
    assert HANDLED_MAX == 128
    story = many_rejected(HANDLED_MAX - 1)
    story.when(says("m-1")).then_nothing()
    assert len(story.state.handled) == HANDLED_MAX * ENTRY_BYTES


def test_an_older_command_of_a_person_is_taken_for_a_new_one() -> None:
    """The stated bound: a client repeats what was not acknowledged, long before this."""
    story = many_rejected(HANDLED_MAX)
    events, _ = decide(story.state, says("m-1"), story.now_us, story.policy)
    assert [type(e) for e in events] == [MessageReceived]


def test_what_stages_send_needs_no_memory() -> None:
    story = given(says("m-1"), analysed(2), answered(2))
    story.when(*(cancels(9, mid=f"x-{n}") for n in range(HANDLED_MAX + 1)))
    for command in (analysed(2), answered(2), gives_up(2), turn_overdue(2), restarts(2)):
        story.when(command).then_nothing()


def test_finished_turns_can_be_rated_within_a_bound() -> None:
    story = Story()
    for n in range(ENDED_MAX + 1):
        story.when(says(f"m-{n}"))
        seq = story.state.seq
        story.when(analysed(seq, f"m-{n}"), answered(seq))
    assert len(story.state.ended) == ENDED_MAX
    assert len(story.state.context) == CONTEXT_MAX
    first, second = 2, 6
    story.when(rates(first, mid="r-1")).then(an(CommandRejected, code="unknown_turn"))
    story.when(rates(second, mid="r-2"))
    assert not isinstance(story.latest[0], CommandRejected)


def test_memory_of_commands_is_searched_by_whole_entries() -> None:
    """Two entries side by side hold 31 other strings of the same length."""
    one, two = entry(1), entry(2)
    state = replace(new_conversation(TENANT, CONVERSATION), handled=one + two)
    assert has_handled(state, one)
    assert has_handled(state, two)
    for shift in range(1, ENTRY_BYTES):
        straddling = (one + two)[shift : shift + ENTRY_BYTES]
        assert not has_handled(state, straddling)
        assert not has_handled_otherwise(state, straddling)
    assert has_handled(replace(state, handled=one[1:] + one[:1] + one), one)
    assert has_handled(replace(state, handled=one + b"x" + one + bytes(ENTRY_BYTES - 1)), one)


def test_an_entry_is_found_under_others_that_overlap_with_it() -> None:
    same = bytes(ID_BYTES)
    handled = same + bytes(8) + b"x" * 8
    state = replace(new_conversation(TENANT, CONVERSATION), handled=handled)
    assert has_handled(state, handled)
    assert has_handled_otherwise(state, same + bytes(16))
    assert not has_handled(state, same + bytes(16))


def test_a_conversation_of_any_length_keeps_a_small_snapshot() -> None:
    story = Story(Policy(waiting_max=16))
    for n in range(200):
        story.when(says(f"m-{n}"), says(f"n-{n}"))
        turn: Any = story.state.turn or story.state.waiting[0]
        story.when(analysed(turn.message_seq), answered(turn.message_seq))
    assert story.state.seq > 400
    assert len(SNAPSHOTS.encode(story.state)) < 16 * 1024


HISTORY = """
from conversation_story import *
from schemas.codec import RecordCodec
story = given(says("m-1"), analysed(2), says("m-2"), restarts(2), answered(2, 2), closes())
for value in (*story.events, story.state):
    print(RecordCodec(type(value)).encode(value).hex())
"""


def test_the_same_history_gives_the_same_bytes_in_every_process() -> None:
    def told(hash_seed: str) -> bytes:
        here = Path(__file__).parent
        path = os.pathsep.join((str(here), str(here.parents[3])))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed}
        return subprocess.check_output([sys.executable, "-c", HISTORY], env=environment)

    assert told("1") == told("2")
    assert told("1").count(b"\n") == 10


def test_a_snapshot_of_the_first_version_is_the_same_state() -> None:
    story = given(says("m-1"), analysed(2), answered(2))
    first = replace(story.state, finished=(FinishedTurn(turn_of(2), 2, "completed"),), ended=())
    assert upcast(first) == upcast(story.state) == story.state


def test_what_strangers_try_does_not_make_the_owners_commands_forgotten() -> None:
    story = given(says("m-1"))
    story.when(*(cancels(2, mid=f"x-{n}", actor=STRANGER) for n in range(HANDLED_MAX + 1)))
    story.when(says("m-1")).then_nothing()
    story.when(cancels(2, mid=f"x-{HANDLED_MAX}", actor=STRANGER)).then_nothing()
