"""Judges what screens showed: no gap without a reset, no other words, and answers that stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .history import History, Outcome, Place, Screen, Send
from .rules import TURNS_MIN, Finding, Rule
from .world import Row

SHOWN = frozenset(("MessageAnalysed", "TurnCompleted"))
"""Whose texts frontends see."""
EFFECTS = frozenset(("MessageReceived", "CommandRejected"))
STREAMED_MIN = 0.3
"""Share of the answers seen by screens that must have streamed: many come after a reconnect."""


def judge_screens(history: History, log: Mapping[Place, Sequence[Row]]) -> Iterator[Finding]:
    """What is wrong on the screens of a storm."""
    for send in history.sends:
        yield from _on_screen(send, history, log)
    for screen in history.screens.values():
        yield from _screen(screen, log.get(screen.place, ()))
    yield from _live(history.screens.values())


def ends_on_screens(log: Sequence[Row]) -> bool:
    """Whether screens show a conversation to its end: what was rejected before there was an owner
    is shown to the socket that asked, and to no other."""
    return any(row.type == "ConversationStarted" for row in log)


def _screen(screen: Screen, log: Sequence[Row]) -> Iterator[Finding]:
    seq = 0
    streamed: dict[str, tuple[int, str]] = {}
    resumed = False
    for item in screen.seen:
        resumes, resumed = resumed, item.kind == "subscribed" and item.resumed
        match item.kind:
            case "subscribed":
                pass
            case "reset":
                if resumes:
                    what = f"it was told that it resumes, and began anew at {item.seq}"
                    yield Finding(Rule.SCREEN, screen.place, what)
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
                elif item.kind in SHOWN and item.text != logged.text:
                    what = f"event {seq} says {item.text!r} on a screen, {logged.text!r} in the log"
                    yield Finding(Rule.SCREEN, screen.place, what)
                if item.kind == "TurnRestarted":
                    streamed.pop(item.turn or "", None)
                if item.kind == "TurnCompleted" and item.turn in streamed:
                    yield from _stream(screen.place, item.turn, streamed[item.turn], item.text)
    if seq != len(log) and ends_on_screens(log):
        yield Finding(Rule.SCREEN, screen.place, f"a screen ends at {seq}, the log at {len(log)}")


def _stream(place: Place, turn: str, streamed: tuple[int, str], whole: str) -> Iterator[Finding]:
    attempt, text = streamed
    # The end may overtake the last pieces, which the screen then has no use for.
    if not whole.startswith(text):
        what = f"turn {turn}, attempt {attempt}: {text!r} streamed, {whole!r} was completed"
        yield Finding(Rule.STREAM, place, what)


def _live(screens: Iterable[Screen]) -> Iterator[Finding]:
    came, streamed = streaming(screens)
    if came >= TURNS_MIN and streamed < STREAMED_MIN * came:
        yield Finding(Rule.LIVE, ("", ""), f"{streamed} of {came} answers streamed")


def streaming(screens: Iterable[Screen]) -> tuple[int, int]:
    """How many answers came to screens, and of how many there was a piece before."""
    came = streamed = 0
    for screen in screens:
        begun: set[str | None] = set()
        for item in screen.seen:
            if item.kind == "text":
                begun.add(item.turn)
            elif item.kind == "TurnCompleted":
                came += 1
                streamed += item.turn in begun
    return came, streamed


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
