"""Every rule of the oracle is seen to fail, and none fails for a storm that went well."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import pytest

from .history import History, Outcome, Seen, Send
from .oracle import Rule, judge
from .world import Row, World

PLACE = ("storm-a", "c-1")
OTHER = ("storm-b", "c-2")
LOG = [
    Row(1, "ConversationStarted"),
    Row(2, "MessageReceived", "m-1", text="hello"),
    Row(3, "MessageAnalysed", "m-1"),
    Row(4, "TurnStarted", "m-1", "t-1"),
    Row(5, "TurnCompleted", "m-1", "t-1"),
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
    made.history.screen(PLACE).seen = [
        Seen(row.type, seq=row.seq, mid=row.mid, turn=row.turn) for row in LOG
    ]
    made.seen.insert(4, Seen("text", turn="t-1", attempt=1, at=0, text="An ans"))
    made.seen[5] = replace(made.seen[5], text="An answer.")
    made.history.screen(OTHER)
    for copy in (made.world.log, made.world.redis, made.world.clickhouse):
        copy[PLACE] = deepcopy(LOG)
    return made


def test_a_storm_that_went_well_has_no_findings(storm: Storm) -> None:
    assert storm.rules() == set()


def everywhere(storm: Storm, change: Callable[[list[Row]], list[Row]]) -> None:
    for copy in (storm.world.log, storm.world.redis, storm.world.clickhouse):
        copy[PLACE] = change(copy[PLACE])
    storm.history.screen(PLACE).seen = [
        Seen(row.type, seq=row.seq, mid=row.mid, turn=row.turn) for row in storm.world.log[PLACE]
    ]


def numbered(rows: list[Row]) -> list[Row]:
    return [replace(row, seq=seq) for seq, row in enumerate(rows, 1)]


def test_an_acknowledged_message_that_is_nowhere_is_lost(storm: Storm) -> None:
    everywhere(storm, lambda rows: rows[:1])
    assert Rule.LOST in storm.rules()


def test_an_acknowledged_message_with_other_words_is_lost(storm: Storm) -> None:
    everywhere(storm, lambda rows: [replace(r, text=r.text and "not hello") for r in rows])
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
        storm.history.screen(place).seen = [
            Seen(row.type, seq=row.seq, mid=row.mid, turn=row.turn) for row in rows
        ]
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
