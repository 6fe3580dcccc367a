"""Every rule of the oracle is seen to fail, and none fails for a storm that went well."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from parley.verify.differences import Difference
from parley.verify.turns import OpenTurn
from parley.verify.verification import Report
from schemas.identifiers import client_command_id

from .history import Act, Deed, History, Outcome, Seen, Send
from .nemesis import Fault, Kind, Nemesis
from .oracle import Rest, judge, judge_rest, missing
from .process import FOLDER, TRANSACTION_OPEN
from .provider import StormProvider
from .rules import Rule
from .screens import SHOWN
from .world import Fold, Row, World

PLACE = ("storm-a", "c-1")
OTHER = ("storm-b", "c-2")
LOG = [
    Row(1, "ConversationStarted"),
    Row(2, "MessageReceived", "m-1", text="hello"),
    Row(3, "MessageAnalysed", "m-1", text="he***"),
    Row(4, "TurnStarted", "m-1", "t-1", at_us=1_000_000, due_us=31_000_000),
    Row(5, "TurnCompleted", "m-1", "t-1", text="An answer.", at_us=2_000_000),
]


def seen(rows: list[Row]) -> list[Seen]:
    """What a screen shows that was there from the beginning."""
    return [
        Seen(row.type, row.seq, row.mid, row.turn, text=row.text if row.type in SHOWN else "")
        for row in rows
    ]


@dataclass
class Storm:
    """A small storm, as customers and outsiders saw it."""

    history: History = field(default_factory=History)
    world: World = field(default_factory=World)

    def rules(self) -> set[Rule]:
        return {finding.rule for finding in judge(self.history, self.world)}

    @property
    def seen(self) -> list[Seen]:
        return self.history.screen(PLACE).seen


@pytest.fixture
def storm() -> Storm:
    """One message, acknowledged, analysed and answered."""
    made = Storm()
    made.history.sends.append(Send(PLACE, "m-1", "hello", Outcome.OK, times=2))
    made.history.screen(PLACE).seen = seen(LOG)
    made.seen.insert(4, Seen("text", turn="t-1", attempt=1, at=0, text="An ans"))
    made.history.screen(OTHER)
    for copy in (made.world.log, made.world.redis, made.world.clickhouse):
        copy[PLACE] = deepcopy(LOG)
    return made


def test_a_storm_that_went_well_has_no_findings(storm: Storm) -> None:
    assert storm.rules() == set()


def everywhere(storm: Storm, change: Callable[[list[Row]], list[Row]]) -> None:
    for copy in (storm.world.log, storm.world.redis, storm.world.clickhouse):
        copy[PLACE] = change(copy[PLACE])
    storm.history.screen(PLACE).seen = seen(storm.world.log[PLACE])


def numbered(rows: list[Row]) -> list[Row]:
    return [replace(row, seq=seq) for seq, row in enumerate(rows, 1)]


def test_an_acknowledged_message_that_is_nowhere_is_lost(storm: Storm) -> None:
    everywhere(storm, lambda rows: rows[:1])
    assert Rule.LOST in storm.rules()


def test_an_acknowledged_message_with_other_words_is_lost(storm: Storm) -> None:
    everywhere(
        storm, lambda rows: [replace(rows[0]), replace(rows[1], text="not hello"), *rows[2:]]
    )
    assert storm.rules() == {Rule.LOST}


def test_an_acknowledged_message_that_was_forbidden_is_lost(storm: Storm) -> None:
    rejected = Row(2, "CommandRejected", "m-1", code="forbidden")
    everywhere(storm, lambda rows: [rows[0], rejected])
    assert Rule.LOST in storm.rules()


def test_an_acknowledged_message_that_never_came_to_its_screen_is_lost(storm: Storm) -> None:
    storm.history.screen(PLACE).seen = []
    assert Rule.LOST in storm.rules()


@pytest.mark.parametrize("copy", ["log", "redis", "clickhouse"])
def test_a_message_that_is_there_twice_is_doubled(storm: Storm, copy: str) -> None:
    rows = getattr(storm.world, copy)[PLACE]
    rows.append(rows[1])
    assert Rule.DOUBLED in storm.rules()


def test_what_comes_again_after_a_snapshot_is_not_doubled(storm: Storm) -> None:
    """Redis was emptied: the screen begins anew with what is there already."""
    storm.seen.insert(3, Seen("reset", seq=1))
    storm.seen[4:4] = storm.seen[1:3]
    assert storm.rules() == set()


def test_a_message_that_is_twice_on_its_screen_is_doubled(storm: Storm) -> None:
    storm.seen.insert(2, storm.seen[1])
    assert Rule.DOUBLED in storm.rules()


def test_a_refused_message_with_an_effect_is_a_ghost(storm: Storm) -> None:
    storm.history.sends[0].outcome = Outcome.REFUSED
    assert storm.rules() == {Rule.GHOST}


def test_a_message_that_nobody_sent_is_a_ghost(storm: Storm) -> None:
    storm.history.sends.clear()
    assert storm.rules() == {Rule.GHOST}


def test_an_unknown_message_may_be_there_or_not_but_everywhere_the_same(storm: Storm) -> None:
    storm.history.sends[0].outcome = Outcome.UNKNOWN
    assert storm.rules() == set()
    del storm.world.clickhouse[PLACE]
    assert Rule.SAME in storm.rules()


EFFECTS = {
    Deed.CANCEL: Row(5, "TurnCancelled", "m-1", "t-1"),
    Deed.RATE: Row(6, "FeedbackReceived", "a-1", "t-1"),
    Deed.CLOSE: Row(6, "ConversationClosed", "a-1"),
}
REJECTED = Row(6, "CommandRejected", "a-1", "t-1")


def act(storm: Storm, deed: Deed, outcome: Outcome, *effects: Row) -> None:
    """The customer does something after the answer (or instead of it), which has these effects."""
    command = client_command_id(*PLACE, "p-1", "a-1", deed)
    turn = "" if deed is Deed.CLOSE else "t-1"
    rows = [replace(row, actor="p-1") for row in LOG]
    if any(row.type == "TurnCancelled" for row in effects):
        rows.pop()
    answers = [replace(row, command=command, actor="p-1") for row in effects]
    everywhere(storm, lambda _: numbered([*rows, *answers]))
    storm.history.acts.append(Act(PLACE, "a-1", deed, turn, outcome, times=1))


@pytest.mark.parametrize("deed", Deed)
def test_what_customers_do_takes_effect_once(storm: Storm, deed: Deed) -> None:
    act(storm, deed, Outcome.OK, EFFECTS[deed])
    assert storm.rules() == set()


@pytest.mark.parametrize(
    ("outcome", "effects", "rules"),
    [
        (Outcome.OK, 0, {Rule.LOST}),
        (Outcome.OK, 2, {Rule.DOUBLED}),
        (Outcome.UNKNOWN, 0, set()),
        (Outcome.UNKNOWN, 1, set()),
        (Outcome.REFUSED, 0, set()),
        (Outcome.REFUSED, 1, {Rule.GHOST}),
    ],
)
def test_an_act_that_is_lost_doubled_or_refused_is_found(
    storm: Storm, outcome: Outcome, effects: int, rules: set[Rule]
) -> None:
    act(storm, Deed.RATE, outcome, *[EFFECTS[Deed.RATE]] * effects)
    assert storm.rules() == rules


def test_a_cancel_is_not_too_late_while_the_answer_is_under_way(storm: Storm) -> None:
    act(storm, Deed.CANCEL, Outcome.OK, replace(REJECTED, code="turn_over"))
    everywhere(storm, lambda rows: numbered([*rows[:4], rows[5], rows[4]]))
    assert storm.rules() == {Rule.LOST}


def test_a_close_is_rejected_where_nothing_came_through_and_shown_to_nobody_later(
    storm: Storm,
) -> None:
    act(storm, Deed.CLOSE, Outcome.OK, replace(REJECTED, turn="", code="unknown_conversation"))
    storm.history.sends.clear()
    everywhere(storm, lambda rows: numbered([rows[5]]))
    storm.seen.clear()
    assert storm.rules() == set()


@pytest.mark.parametrize(("refusals", "rules"), [((), {Rule.LOST}), (("full",), set())])
def test_a_message_may_only_be_refused_where_that_is_expected(
    storm: Storm, refusals: tuple[str, ...], rules: set[Rule]
) -> None:
    refusal = Row(6, "CommandRejected", "m-2", code="full")
    everywhere(storm, lambda rows: [*rows, refusal])
    storm.history.sends.append(Send(PLACE, "m-2", "more", Outcome.OK, times=1))
    found = judge(storm.history, storm.world, refusals=refusals)
    assert {finding.rule for finding in found} == rules


@pytest.mark.parametrize(
    ("deed", "code", "rules"),
    [
        (Deed.CANCEL, "turn_over", set()),
        (Deed.CLOSE, "unknown_conversation", {Rule.LOST}),
        (Deed.CANCEL, "forbidden", {Rule.LOST}),
        (Deed.RATE, "unknown_turn", {Rule.LOST}),
        (Deed.CLOSE, "closed", {Rule.LOST}),
    ],
)
def test_an_act_may_only_be_rejected_for_coming_too_late(
    storm: Storm, deed: Deed, code: str, rules: set[Rule]
) -> None:
    act(storm, deed, Outcome.OK, replace(REJECTED, code=code))
    assert storm.rules() == rules


def test_an_act_that_hits_another_turn_is_found(storm: Storm) -> None:
    act(storm, Deed.RATE, Outcome.OK, replace(EFFECTS[Deed.RATE], turn="t-9"))
    assert Rule.LOST in storm.rules()


@pytest.mark.parametrize("deed", Deed)
def test_an_act_that_nobody_asked_for_is_a_ghost(storm: Storm, deed: Deed) -> None:
    act(storm, deed, Outcome.OK, EFFECTS[deed])
    storm.history.acts.clear()
    assert storm.rules() == {Rule.GHOST}


def test_life_after_the_close_is_found(storm: Storm) -> None:
    act(storm, Deed.CLOSE, Outcome.OK, EFFECTS[Deed.CLOSE])
    everywhere(storm, lambda rows: numbered([*rows[:3], rows[5], *rows[3:5]]))
    assert storm.rules() == {Rule.TURN}


@pytest.mark.parametrize(
    ("times", "outcome", "rules"),
    [
        (1, Outcome.OK, set()),
        (0, Outcome.OK, {Rule.LOST}),
        (2, Outcome.OK, {Rule.DOUBLED}),
        (0, Outcome.UNKNOWN, set()),
    ],
)
def test_a_contradiction_is_rejected_once(
    storm: Storm, times: int, outcome: Outcome, rules: set[Rule]
) -> None:
    conflict = Row(0, "CommandRejected", "m-1", code="conflict")
    everywhere(storm, lambda rows: numbered([*rows, *[conflict] * times]))
    storm.history.sends[0].contradicted = outcome
    assert storm.rules() == rules


@pytest.mark.parametrize("copy", ["log", "redis", "clickhouse"])
def test_a_gap_is_found_in_every_copy(storm: Storm, copy: str) -> None:
    del getattr(storm.world, copy)[PLACE][2]
    assert Rule.ORDER in storm.rules()


def test_another_turn_in_a_copy_is_found(storm: Storm) -> None:
    storm.world.redis[PLACE][4] = replace(LOG[4], turn="t-9")
    assert storm.rules() == {Rule.ORDER}


def test_a_screen_with_a_gap_is_found(storm: Storm) -> None:
    del storm.seen[2]
    assert Rule.SCREEN in storm.rules()


def test_a_screen_that_stopped_early_is_found(storm: Storm) -> None:
    del storm.seen[5:]
    assert Rule.SCREEN in storm.rules()


@pytest.mark.parametrize("mids", [(), ("m-1", "m-1")], ids=("without it", "with it twice"))
def test_a_snapshot_that_holds_other_messages_is_found(storm: Storm, mids: tuple[str, ...]) -> None:
    storm.seen.insert(5, Seen("reset", seq=4, mids=mids))
    assert Rule.SCREEN in storm.rules()
    storm.seen[5] = Seen("reset", seq=4, mids=("m-1",))
    assert storm.rules() == set()


def test_a_message_that_was_not_analysed_is_found(storm: Storm) -> None:
    everywhere(storm, lambda rows: numbered([row for row in rows if row.type != "MessageAnalysed"]))
    assert storm.rules() == {Rule.ANALYSED}


@pytest.mark.parametrize(
    "rows",
    [
        LOG[:4],
        [*LOG, LOG[4]],
        [*LOG[:3], LOG[4], LOG[3]],
        [*LOG, replace(LOG[3], turn="t-2"), replace(LOG[4], turn="t-2")],
        LOG[:3],
    ],
    ids=("no end", "two ends", "an end before its start", "two turns", "no turn"),
)
def test_a_turn_that_went_wrong_is_found(storm: Storm, rows: list[Row]) -> None:
    everywhere(storm, lambda _: numbered(rows))
    assert storm.rules() == {Rule.TURN}


def test_many_turns_without_an_answer_are_found(storm: Storm) -> None:
    for number in range(100):
        place = ("storm-a", f"failed-{number}")
        rows = [replace(row, type=row.type.replace("Completed", "Failed")) for row in LOG]
        for copy in (storm.world.log, storm.world.redis, storm.world.clickhouse):
            copy[place] = rows
        storm.history.sends.append(Send(place, "m-1", "hello", Outcome.UNKNOWN))
        storm.history.screen(place).seen = seen(rows)
    assert storm.rules() == {Rule.ANSWERED}


def test_streamed_text_that_is_not_the_answers_is_found(storm: Storm) -> None:
    storm.seen[4] = replace(storm.seen[4], text="Another")
    assert storm.rules() == {Rule.STREAM}


def test_streamed_text_with_a_hole_is_found(storm: Storm) -> None:
    storm.seen.insert(5, Seen("text", turn="t-1", attempt=1, at=9, text="."))
    assert storm.rules() == {Rule.STREAM}


@pytest.mark.parametrize("where", ["screen", "copy"])
def test_another_tenants_words_are_found(storm: Storm, where: str) -> None:
    if where == "screen":
        storm.seen[5] = replace(storm.seen[5], whole="You said canary-storm-b")
    else:
        storm.world.texts.append(("ClickHouse", "storm-a", "You said canary-storm-b"))
    assert storm.rules() == {Rule.TENANT}


def test_a_conversation_that_nobody_has_is_found(storm: Storm) -> None:
    del storm.history.screens[PLACE]
    storm.history.sends.clear()
    assert Rule.TENANT in storm.rules()


def many(storm: Storm, rows: list[Row], *extra: Seen) -> None:
    """A hundred conversations like this one."""
    for number in range(100):
        place = ("storm-a", f"c-{number}")
        for copy in (storm.world.log, storm.world.redis, storm.world.clickhouse):
            copy[place] = rows
        storm.history.sends.append(Send(place, "m-1", "hello", Outcome.UNKNOWN))
        storm.history.screen(place).seen = [*seen(rows[:4]), *extra, *seen(rows[4:])]


def test_answers_that_come_whole_and_never_stream_are_found(storm: Storm) -> None:
    many(storm, LOG, Seen("text", turn="t-1", attempt=1, at=0, text="An"))
    assert storm.rules() == set()
    many(storm, LOG)
    assert storm.rules() == {Rule.LIVE}


@pytest.mark.parametrize("at", [2, 5], ids=("the redacted message", "the answer"))
def test_other_words_on_a_screen_than_in_the_log_are_found(storm: Storm, at: int) -> None:
    storm.seen[at] = replace(storm.seen[at], text="An ans, but not this one.")
    assert storm.rules() == {Rule.SCREEN}


def test_a_subscription_that_was_told_it_resumes_and_began_anew_is_found(storm: Storm) -> None:
    storm.seen[5:5] = [Seen("subscribed"), Seen("reset", seq=4, mids=("m-1",))]
    assert storm.rules() == set()
    storm.seen[5] = Seen("subscribed", resumed=True)
    assert storm.rules() == {Rule.SCREEN}
    del storm.seen[6]
    assert storm.rules() == set()


def test_a_turn_that_ended_long_after_its_deadline_is_found(storm: Storm) -> None:
    everywhere(storm, lambda rows: [*rows[:4], replace(rows[4], at_us=90_000_000)])
    assert storm.rules() == set()
    everywhere(storm, lambda rows: [*rows[:4], replace(rows[4], at_us=92_000_000)])
    assert storm.rules() == {Rule.LATE}


@pytest.mark.parametrize(
    ("found", "what"),
    [
        ({}, "ClickHouse's events 5: nothing"),
        ({(PLACE, 5): {"times": 2}}, "ClickHouse's events 5: 2 times"),
        ({(PLACE, 5): {"score": 1, "code": "x"}}, "ClickHouse's events 5: other code"),
        (
            {(PLACE, 5): {"score": 1, "code": ""}, (PLACE, 6): {"score": 1, "code": ""}},
            "ClickHouse's events 6: not in the log",
        ),
    ],
    ids=("missing", "doubled", "different", "too much"),
)
def test_a_copy_that_is_not_the_fold_of_the_log_is_found(
    storm: Storm, found: dict[Any, Any], what: str
) -> None:
    folded = {(PLACE, 5): {"score": 1, "code": ""}}
    storm.world.folds["ClickHouse's events"] = Fold(folded, dict(folded))
    assert storm.rules() == set()
    storm.world.folds["ClickHouse's events"] = Fold(folded, found)
    (finding,) = judge(storm.history, storm.world)
    assert (finding.rule, finding.what) == (Rule.FOLD, what)


# Coming to rest

REPORT = Report(1, 5, 1, {}, (), 0, (), (), 0.1)
REST = Rest(REPORT, in_time=True)


@pytest.mark.parametrize(
    ("rest", "rule", "what"),
    [
        (replace(REST, ready=False), Rule.DRAINED, "not every part came up again"),
        (replace(REST, in_time=False), Rule.DRAINED, "it took too long"),
        (replace(REST, away="Redis is away"), Rule.DRAINED, "Redis is away"),
        (replace(REST, unread=3), Rule.DRAINED, "3 commands that nobody has read"),
        (
            replace(REST, report=replace(REPORT, open_turns=(OpenTurn(*PLACE, "t-1", 4, 0),))),
            Rule.DRAINED,
            "1 open turns",
        ),
        (
            replace(REST, report=replace(REPORT, waiting_messages=2)),
            Rule.DRAINED,
            "2 messages without a turn",
        ),
        (
            replace(
                REST,
                report=replace(REPORT, differences=(Difference(*PLACE, "Redis", "seq", "5", "4"),)),
            ),
            Rule.FOLD,
            "Redis: seq: 4",
        ),
        (
            replace(REST, report=replace(REPORT, unreadable=((3, 17, "unknown_schema"),))),
            Rule.FOLD,
            "no event: unknown_schema",
        ),
    ],
)
def test_what_did_not_come_to_rest_is_found(rest: Rest, rule: Rule, what: str) -> None:
    assert judge_rest(REST) == []
    (finding,) = judge_rest(rest)
    assert (finding.rule, finding.what) == (rule, what)


async def test_a_point_that_no_process_comes_by_is_found_and_only_then(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    nemesis = Nemesis(tmp_path, StormProvider(), lambda words: None)
    point = tmp_path / FOLDER / TRANSACTION_OPEN

    async def arm(at_s: float) -> None:
        fault = Fault(at_s, Kind.DIE_AT, TRANSACTION_OPEN)
        await nemesis.run([fault], began_at=time.monotonic() - at_s)

    await arm(1)
    point.unlink()  # as a process does that comes by
    await arm(2)
    assert nemesis.missed(before_s=2) == []
    (finding,) = missing(nemesis.missed(before_s=3))
    assert finding.rule is Rule.STRUCK
    assert finding.what == "die at transaction-open, armed at 2 s, never struck"
    await arm(3)
    assert [fault.at_s for fault in nemesis.missed(before_s=9)] == [2]
    point.unlink()
    await nemesis.heal()
    assert nemesis.struck == 2
