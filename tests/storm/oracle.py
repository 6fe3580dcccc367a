"""Judges a storm. Pure: what customers wrote down on one side, what outsiders read on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from parley.verify.verification import Report
from schemas.identifiers import client_command_id
from schemas.topics import EVENTS

from .history import Act, Deed, History, Outcome, Place, Send, canary
from .nemesis import Fault
from .rules import TURNS_MIN, Finding, Rule
from .screens import judge_screens
from .world import TIMES, Cells, Row, World

ENDS = frozenset(("TurnCompleted", "TurnFailed", "TurnCancelled"))
START = "TurnStarted"
CLOSED = "ConversationClosed"
LIFE = ENDS | {START, "TurnRestarted"}
DONE = {
    Deed.CANCEL: "TurnCancelled",
    Deed.RATE: "FeedbackReceived",
    Deed.CLOSE: "ConversationClosed",
}
"""The effects of what customers do besides talking."""
AFTER_CLOSE = frozenset(("CommandRejected", "MessageAnalysed"))
UNANSWERED_MAX = 0.05
"""Share of the turns that may end without an answer: deadlines are short, and workers sleep."""
LATE_MAX_S = 60.0
"""How long after its deadline a turn may end: nothing that goes wrong lasts longer."""
COPIES = ("log", "Redis", "ClickHouse")


@dataclass(frozen=True, slots=True)
class Rest:
    """How everything came to rest after a storm."""

    report: Report
    in_time: bool
    """Whether it did before the time was over."""
    ready: bool = True
    """Whether every part came up again."""
    away: str = ""
    """What could not be read to the end."""
    unread: int = 0
    """Commands that the conversation stage has not read."""


def judge(
    history: History,
    world: World,
    *,
    screens: bool = True,
    refusals: Collection[str] = (),
) -> list[Finding]:
    """Everything that is wrong; nothing, if the promises hold.

    Without `screens` nobody looked on: only the copies are judged. `refusals` are the reasons for
    which a conversation may refuse what these customers say.
    """
    copies = dict(zip(COPIES, (world.log, world.redis, world.clickhouse), strict=True))
    return sorted(
        {
            *_effects(history, copies, refusals),
            *_acts(history, world.log),
            *_contradictions(history, world.log),
            *(_unasked(history, world.log) if screens else ()),
            *(judge_screens(history, world.log) if screens else ()),
            *_orders(copies),
            *_turns(world.log),
            *_answers(world.log),
            *_late(world.log),
            *_tenants(history, world),
            *_folds(world),
        }
    )


def missing(faults: Iterable[Fault]) -> list[Finding]:
    """Points in the code that were armed, and that no process came by."""
    return [
        Finding(Rule.STRUCK, ("", ""), f"{fault}, armed at {fault.at_s:.0f} s, never struck")
        for fault in faults
    ]


def judge_rest(rest: Rest) -> list[Finding]:
    """What is wrong with the way in which everything came to rest."""
    nowhere = ("", "")
    found: list[Finding] = []
    if not rest.ready:
        found.append(Finding(Rule.DRAINED, nowhere, "not every part came up again"))
    if rest.away:
        found.append(Finding(Rule.DRAINED, nowhere, rest.away))
    if not rest.in_time:
        found.append(Finding(Rule.DRAINED, nowhere, "it took too long"))
    waiting = {
        "open turns": len(rest.report.open_turns),
        "messages without a turn": rest.report.waiting_messages,
        "commands that nobody has read": rest.unread,
    }
    found += [Finding(Rule.DRAINED, nowhere, f"{n} {what}") for what, n in waiting.items() if n]
    found += [
        Finding(Rule.FOLD, (d.tenant_id, d.conversation_id), f"{d.where}: {d.what}: {d.found}")
        for d in rest.report.differences
    ]
    found += [
        Finding(Rule.FOLD, (EVENTS.name, f"{partition}/{offset}"), f"no event: {code}")
        for partition, offset, code in rest.report.unreadable
    ]
    return found


# Effects


def _effects(
    history: History,
    copies: Mapping[str, Mapping[Place, Sequence[Row]]],
    refusals: Collection[str],
) -> Iterator[Finding]:
    counted = {name: _received(rows, refusals) for name, rows in copies.items()}
    for send in history.sends:
        found = {name: counts[send.place, send.mid] for name, counts in counted.items()}
        yield from _effect_of(send, found)
        yield from _same_text(send, copies["log"].get(send.place, ()))
    known = {(send.place, send.mid) for send in history.sends}
    for place, mid in counted["log"]:
        if (place, mid) not in known:
            yield Finding(Rule.GHOST, place, f"nobody sent {mid}")


def _received(
    copy: Mapping[Place, Sequence[Row]], refusals: Collection[str]
) -> Counter[tuple[Place, str]]:
    """How often each message took effect: it was received, or refused by the conversation."""
    return Counter(
        (place, row.mid)
        for place, rows in copy.items()
        for row in rows
        if row.mid
        and (
            row.type == "MessageReceived"
            or (row.type == "CommandRejected" and row.code in refusals)
        )
    )


def _same_text(send: Send, rows: Sequence[Row]) -> Iterator[Finding]:
    """A message that took effect says what was sent, not what was said under its id later."""
    for row in rows:
        if row.type == "MessageReceived" and row.mid == send.mid and row.text != send.text:
            yield Finding(Rule.LOST, send.place, f"{send.mid} says something else in the log")


def _effect_of(send: Send, found: Mapping[str, int]) -> Iterator[Finding]:
    told = f"{send.mid} ({send.outcome}, sent {send.times} times)"
    for name, count in found.items():
        yield from _once_or_refused(send, told, name, count, count)
    if len(set(map(bool, found.values()))) > 1:
        yield Finding(Rule.SAME, send.place, f"{told}: {dict(found)}")


def _acts(history: History, log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    """What customers do besides talking takes effect as their messages do."""
    for act in history.acts:
        command = _command(act, log)
        rows = log.get(act.place, ())
        answers = [row for row in rows if row.command == command]
        count = sum(_answers_act(row, act, rows) for row in answers)
        told = f"{act.deed} {act.mid} ({act.outcome}, sent {act.times} times)"
        yield from _once_or_refused(act, told, "the log", count, len(answers))


def _once_or_refused(
    asked: Send | Act, told: str, where: str, effects: int, traces: int
) -> Iterator[Finding]:
    """One effect of what was acknowledged, and no trace at all of what was refused."""
    if effects > 1:
        yield Finding(Rule.DOUBLED, asked.place, f"{told} is {effects} times in {where}")
    if effects == 0 and asked.outcome is Outcome.OK:
        yield Finding(Rule.LOST, asked.place, f"{told} is not in {where}")
    if traces and asked.outcome is Outcome.REFUSED:
        yield Finding(Rule.GHOST, asked.place, f"{told} is in {where}")


def _unasked(history: History, log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    """Only what customers do cancels, rates and closes: here no message interrupts an answer."""
    asked = {(act.place, _command(act, log)) for act in history.acts}
    for place, rows in log.items():
        for row in rows:
            if row.type in DONE.values() and (place, row.command) not in asked:
                yield Finding(Rule.GHOST, place, f"nobody asked for {row.type} {row.seq}")


def _command(act: Act, log: Mapping[Place, Sequence[Row]]) -> str:
    """The id of its command. The log knows people by pseudonyms; a conversation's first event
    tells its owner's."""
    actor = next((row.actor for row in log.get(act.place, ())), "")
    return client_command_id(*act.place, actor, act.mid, act.deed)


def _answers_act(row: Row, act: Act, rows: Sequence[Row]) -> bool:
    if row.turn != act.turn:
        return False
    if row.type != "CommandRejected":
        return row.type == DONE[act.deed]
    before = [each for each in rows if each.seq < row.seq]
    match act.deed, row.code:
        case Deed.CANCEL, "turn_over":  # the answer was faster
            return any(each.type in ENDS and each.turn == act.turn for each in before)
        case Deed.CLOSE, "unknown_conversation":  # nothing that was said came through
            return not any(each.type == "ConversationStarted" for each in before)
        case _:
            return False


def _contradictions(history: History, log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    """Saying something else under the same id is rejected once."""
    for send in history.sends:
        if send.contradicted is None:
            continue
        count = sum(
            row.type == "CommandRejected" and row.mid == send.mid and row.code == "conflict"
            for row in log.get(send.place, ())
        )
        if count > 1:
            yield Finding(Rule.DOUBLED, send.place, f"{send.mid} was rejected {count} times")
        if count == 0 and send.contradicted is Outcome.OK:
            yield Finding(Rule.LOST, send.place, f"nothing says that {send.mid} was contradicted")


# Order and turns


def _orders(copies: Mapping[str, Mapping[Place, Sequence[Row]]]) -> Iterator[Finding]:
    log = copies["log"]
    for place, rows in log.items():
        if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
            yield Finding(Rule.ORDER, place, f"the log has {_numbers(rows)}")
    for name, copy in copies.items():
        for place in sorted({*log, *copy}):
            mine, theirs = copy.get(place, ()), log.get(place, ())
            if list(map(_mark, mine)) != list(map(_mark, theirs)):
                what = f"{name} has {_numbers(mine)}, the log {_numbers(theirs)}"
                yield Finding(Rule.ORDER, place, what)


def _mark(row: Row) -> tuple[int, str, str, str]:
    return row.seq, row.type, row.mid if row.type == "MessageReceived" else "", row.turn


def _numbers(rows: Sequence[Row]) -> str:
    numbers = [row.seq for row in rows]
    if numbers == list(range(1, len(rows) + 1)):
        return f"1–{len(rows)}"
    twice = sorted(seq for seq, count in Counter(numbers).items() if count > 1)
    missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    return f"{len(rows)} events (twice: {twice[:5]}, missing: {missing[:5]})"


def _turns(log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    for place, rows in log.items():
        for turn in sorted({row.turn for row in rows if row.turn}):
            life = [row.type for row in rows if row.turn == turn and row.type in LIFE]
            if not (life and life[0] == START and life[-1] in ENDS and _once(life)):
                yield Finding(Rule.TURN, place, f"turn {turn} went {', '.join(life)}")
        yield from _messages(place, rows)
        types = [row.type for row in rows]
        after = types[types.index(CLOSED) + 1 :] if CLOSED in types else ()
        if more := sorted(set(after) - AFTER_CLOSE):
            yield Finding(Rule.TURN, place, f"{', '.join(more)} after it was closed")


def _once(life: Sequence[str]) -> bool:
    return life.count(START) == 1 and sum(step in ENDS for step in life) == 1


def _messages(place: Place, rows: Sequence[Row]) -> Iterator[Finding]:
    refused = {row.mid for row in rows if row.type == "TurnRefused"}
    for row in rows:
        if row.type != "MessageReceived" or row.mid in refused:
            continue
        of_it = Counter(each.type for each in rows if each.mid == row.mid)
        if of_it[START] != 1:
            yield Finding(Rule.TURN, place, f"{row.mid} has {of_it[START]} turns")
        if of_it["MessageAnalysed"] != 1:
            what = f"{row.mid} was analysed {of_it['MessageAnalysed']} times"
            yield Finding(Rule.ANALYSED, place, what)


def _answers(log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    ends = Counter(row.type for rows in log.values() for row in rows if row.type in ENDS)
    without = ends["TurnFailed"]
    if ends.total() >= TURNS_MIN and without > UNANSWERED_MAX * ends.total():
        what = f"{without} of {ends.total()} turns ended without an answer"
        yield Finding(Rule.ANSWERED, ("", ""), what)


def _late(log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    for place, late_s in lateness(log):
        if late_s > LATE_MAX_S:
            yield Finding(Rule.LATE, place, f"a turn ended {late_s:.0f} s after its deadline")


def lateness(log: Mapping[Place, Sequence[Row]]) -> Iterator[tuple[Place, float]]:
    """For each turn that has ended, by how many seconds that was after its deadline."""
    for place, rows in log.items():
        due_us = {row.turn: row.due_us for row in rows if row.type == START and row.due_us}
        for row in rows:
            if row.type in ENDS and row.turn in due_us:
                yield place, (row.at_us - due_us[row.turn]) / 1e6


# Folds


def _folds(world: World) -> Iterator[Finding]:
    for name, fold in world.folds.items():
        for key in sorted({*fold.folded, *fold.found}):
            expected, found = fold.folded.get(key), fold.found.get(key)
            if expected != found:
                place, seq = key
                where = f"{name} {seq}" if seq else name
                yield Finding(Rule.FOLD, place, f"{where}: {_unlike(expected, found)}")


def _unlike(expected: Cells | None, found: Cells | None) -> str:
    if expected is None or found is None:
        return "nothing" if found is None else "not in the log"
    if TIMES in found:
        return f"{found[TIMES]} times"
    return "other " + ", ".join(name for name in expected if expected[name] != found.get(name))


# Tenants


def _tenants(history: History, world: World) -> Iterator[Finding]:
    tenants = {tenant for tenant, _ in history.screens}
    shown = [*world.texts]
    for (tenant, conversation), screen in history.screens.items():
        shown += [(f"the screen of {conversation}", tenant, item.whole) for item in screen.seen]
    for where, tenant, text in shown:
        for other in tenants - {tenant}:
            if canary(other) in text:
                yield Finding(Rule.TENANT, (tenant, ""), f"{where} shows a text of {other}")
    for place in world.log:
        if place not in history.screens:
            yield Finding(Rule.TENANT, place, "nobody of this tenant has this conversation")
