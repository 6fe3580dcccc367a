"""Judges a storm. Pure: what customers wrote down on one side, what outsiders read on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .history import History, Outcome, Place, Screen, Send, canary
from .world import Row, World

ENDS = frozenset(("TurnCompleted", "TurnFailed", "TurnCancelled"))
START = "TurnStarted"
LIFE = ENDS | {START, "TurnRestarted"}
EFFECTS = frozenset(("MessageReceived", "CommandRejected"))
REFUSALS = frozenset(("too_many_waiting",))
"""The only reasons for which a conversation refuses what these customers say."""
UNANSWERED_MAX = 0.05
"""Share of the turns that may end without an answer: deadlines are short, and workers sleep."""
TURNS_MIN = 100
"""Of fewer turns no share can be told."""
COPIES = ("log", "Redis", "ClickHouse")


class Rule(StrEnum):
    """What must hold."""

    LOST = "an acknowledged message has its effect"
    DOUBLED = "a message has one effect"
    GHOST = "a refused message has no effect"
    SAME = "all copies have the same effect"
    ORDER = "one order everywhere, without a gap"
    SCREEN = "a screen has no gap without a reset"
    ANALYSED = "one analysis for each message"
    TURN = "one turn and one outcome for each message"
    ANSWERED = "nearly every turn has an answer"
    STREAM = "what streamed is what was completed"
    TENANT = "nothing under another tenant"
    FOLD = "copies are the fold of the log"
    DRAINED = "drained within a minute"
    STRUCK = "every fault strikes"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A rule that was broken, and where."""

    rule: Rule
    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {':'.join(self.place)}: {self.what}"


def judge(history: History, world: World, *, screens: bool = True) -> list[Finding]:
    """Everything that is wrong; nothing, if the promises hold.

    Without `screens` nobody looked on: only the copies are judged.
    """
    watched = history.screens.values() if screens else ()
    copies = dict(zip(COPIES, (world.log, world.redis, world.clickhouse), strict=True))
    return sorted(
        {
            *_effects(history, copies),
            *(f for send in history.sends if screens for f in _on_screen(send, history, world.log)),
            *_orders(copies),
            *_turns(world.log),
            *_answers(world.log),
            *(f for screen in watched for f in _screen(screen, world)),
            *_tenants(history, world),
        }
    )


# Effects


def _effects(
    history: History, copies: Mapping[str, Mapping[Place, Sequence[Row]]]
) -> Iterator[Finding]:
    counted = {name: _received(rows) for name, rows in copies.items()}
    for send in history.sends:
        found = {name: counts[send.place, send.mid] for name, counts in counted.items()}
        yield from _effect_of(send, found)
        yield from _same_text(send, copies["log"].get(send.place, ()))
    known = {(send.place, send.mid) for send in history.sends}
    for place, mid in counted["log"]:
        if (place, mid) not in known:
            yield Finding(Rule.GHOST, place, f"nobody sent {mid}")


def _received(copy: Mapping[Place, Sequence[Row]]) -> Counter[tuple[Place, str]]:
    """How often each message took effect: it was received, or refused by the conversation."""
    return Counter(
        (place, row.mid)
        for place, rows in copy.items()
        for row in rows
        if row.mid
        and (
            row.type == "MessageReceived"
            or (row.type == "CommandRejected" and row.code in REFUSALS)
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
        if count > 1:
            yield Finding(Rule.DOUBLED, send.place, f"{told} is {count} times in {name}")
        if count == 0 and send.outcome is Outcome.OK:
            yield Finding(Rule.LOST, send.place, f"{told} is not in {name}")
        if count and send.outcome is Outcome.REFUSED:
            yield Finding(Rule.GHOST, send.place, f"{told} is in {name}")
    if len(set(map(bool, found.values()))) > 1:
        yield Finding(Rule.SAME, send.place, f"{told}: {dict(found)}")


def _on_screen(
    send: Send, history: History, log: Mapping[Place, Sequence[Row]]
) -> Iterator[Finding]:
    screen = history.screens[send.place]
    if send.outcome is not Outcome.OK or not any(
        row.mid == send.mid and row.type in EFFECTS for row in log.get(send.place, ())
    ):
        return  # it has no effect, which is another finding
    times = _shown(screen).count(send.mid)
    if times > 1:
        yield Finding(Rule.DOUBLED, send.place, f"{send.mid} is {times} times on its screen")
    told = any(s.mid == send.mid and s.kind in EFFECTS for s in screen.seen)
    if times == 0 and not told:
        yield Finding(Rule.LOST, send.place, f"{send.mid} never came to its screen")


def _shown(screen: Screen) -> list[str]:
    """The messages that a screen shows in the end; a reset replaces what was there before."""
    shown: list[str] = []
    for item in screen.seen:
        if item.kind == "reset":
            shown = list(item.mids)
        elif item.kind == "MessageReceived":
            shown.append(item.mid or "")
    return shown


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


# Screens


def _screen(screen: Screen, world: World) -> Iterator[Finding]:
    log = world.log.get(screen.place, [])
    seq = 0
    streamed: dict[str, tuple[int, str]] = {}
    for item in screen.seen:
        match item.kind:
            case "reset":
                seq, streamed = item.seq, {}
                said = tuple(row.mid for row in log[:seq] if row.type == "MessageReceived")
                if item.mids != said:
                    what = f"a snapshot at {seq} holds {item.mids}, the log {said}"
                    yield Finding(Rule.SCREEN, screen.place, what)
            case "text":
                assert item.turn is not None
                attempt, text = streamed.get(item.turn, (item.attempt, ""))
                if item.at == 0 or attempt != item.attempt:
                    text = ""
                if item.at == len(text):
                    streamed[item.turn] = item.attempt, text + item.text
                elif item.turn in streamed:
                    what = f"text of {item.turn} goes on at {item.at}, not at {len(text)}"
                    yield Finding(Rule.STREAM, screen.place, what)
            case _:
                if item.seq != seq + 1:
                    what = f"event {item.seq} after event {seq}"
                    yield Finding(Rule.SCREEN, screen.place, what)
                seq = item.seq
                logged = log[seq - 1] if seq <= len(log) else None
                if logged is None or logged.type != item.kind:
                    what = f"event {seq} is {item.kind} on a screen, {logged} in the log"
                    yield Finding(Rule.ORDER, screen.place, what)
                if item.kind == "TurnRestarted":
                    streamed.pop(item.turn or "", None)
                if item.kind == "TurnCompleted" and item.turn in streamed:
                    yield from _stream(screen.place, item.turn, streamed[item.turn], item.text)
    if seq != len(log):
        yield Finding(Rule.SCREEN, screen.place, f"a screen ends at {seq}, the log at {len(log)}")


def _stream(place: Place, turn: str, streamed: tuple[int, str], whole: str) -> Iterator[Finding]:
    attempt, text = streamed
    # The end may overtake the last pieces, which the screen then has no use for.
    if not whole.startswith(text):
        what = f"turn {turn}, attempt {attempt}: {text!r} streamed, {whole!r} was completed"
        yield Finding(Rule.STREAM, place, what)


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
