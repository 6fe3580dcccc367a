"""Judges a storm. Pure: what customers wrote down on one side, what outsiders read on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .history import History, Outcome, Place, Screen, Send
from .world import Row, World

ENDS = frozenset(("TurnCompleted", "TurnFailed", "TurnCancelled"))
STARTS = frozenset(("TurnStarted",))
EFFECTS = frozenset(("MessageReceived", "CommandRejected"))
CONFLICT = "conflict"
COPIES = ("log", "Redis", "ClickHouse")


class Rule(StrEnum):
    """What must hold."""

    LOST = "an acknowledged message has its effect"
    DOUBLED = "a message has one effect"
    GHOST = "a refused message has no effect"
    SAME = "all copies have the same effect"
    ORDER = "one order everywhere, without a gap"
    SCREEN = "a screen has no gap without a reset"
    TURN = "one outcome for each turn"
    STREAM = "what streamed is what was completed"
    TENANT = "nothing under another tenant"
    FOLD = "copies are the fold of the log"
    DRAINED = "drained within a minute"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A rule that was broken, and where."""

    rule: Rule
    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {':'.join(self.place)}: {self.what}"


def judge(history: History, world: World) -> list[Finding]:
    """Everything that is wrong; nothing, if the promises hold."""
    copies = dict(zip(COPIES, (world.log, world.redis, world.clickhouse), strict=True))
    return sorted(
        {
            *_effects(history, copies),
            *_orders(copies),
            *_turns(world.log),
            *(f for screen in history.screens.values() for f in _screen(screen, world)),
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
        yield from _effect_of(send, found, history.screens.get(send.place))
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
            or (row.type == "CommandRejected" and row.code != CONFLICT)
        )
    )


def _effect_of(send: Send, found: Mapping[str, int], screen: Screen | None) -> Iterator[Finding]:
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
    if screen is not None and send.outcome is Outcome.OK and found["log"]:
        yield from _on_screen(send, screen)


def _on_screen(send: Send, screen: Screen) -> Iterator[Finding]:
    events = [s for s in screen.seen if s.kind == "MessageReceived" and s.mid == send.mid]
    if len(events) > 1:
        yield Finding(
            Rule.DOUBLED, send.place, f"{send.mid} came {len(events)} times to its screen"
        )
    told = any(s.mid == send.mid and s.kind in EFFECTS for s in screen.seen)
    if not told and not any(send.mid in s.mids for s in screen.seen):
        yield Finding(Rule.LOST, send.place, f"{send.mid} never came to its screen")


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


def _mark(row: Row) -> tuple[int, str, str]:
    return row.seq, row.type, row.mid if row.type == "MessageReceived" else ""


def _numbers(rows: Sequence[Row]) -> str:
    numbers = [row.seq for row in rows]
    if numbers == list(range(1, len(rows) + 1)):
        return f"1–{len(rows)}"
    twice = sorted(seq for seq, count in Counter(numbers).items() if count > 1)
    missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    return f"{len(rows)} events (twice: {twice[:5]}, missing: {missing[:5]})"


def _turns(log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    for place, rows in log.items():
        ends = Counter(row.turn for row in rows if row.type in ENDS)
        starts = Counter(row.turn for row in rows if row.type in STARTS)
        for turn in sorted({*ends, *starts}):
            if starts[turn] != 1 or ends[turn] != 1:
                what = f"turn {turn} has {starts[turn]} starts and {ends[turn]} outcomes"
                yield Finding(Rule.TURN, place, what)


# Screens


def _screen(screen: Screen, world: World) -> Iterator[Finding]:
    log = world.log.get(screen.place, [])
    seq = 0
    streamed: dict[str, tuple[int, str]] = {}
    for item in screen.seen:
        match item.kind:
            case "reset":
                seq, streamed = item.seq, {}
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
            if f"canary-{other}" in text:
                yield Finding(Rule.TENANT, (tenant, ""), f"{where} shows a text of {other}")
    for place in world.log:
        if place not in history.screens:
            yield Finding(Rule.TENANT, place, "nobody of this tenant has this conversation")
