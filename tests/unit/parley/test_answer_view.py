"""What a person sees of a streamed answer, on a terminal and in a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from parley.answer_view import AnswerView
from parley.client import Event, Exchange, Reset, Text


def screen(*, terminal: bool) -> tuple[AnswerView, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, color_system=None, width=60)
    return AnswerView(console), written


def completed(text: str, **more: object) -> Exchange:
    return Exchange("m", outcome="completed", text=text, **more)  # type: ignore[arg-type]


def restarted(attempt: int) -> Event:
    return Event(5, "TurnRestarted", "", None, "t", {"attempt": attempt})


def test_pieces_appear_as_they_come_and_the_end_adds_nothing() -> None:
    view, written = screen(terminal=True)
    view.show(Text("t", 1, 0, "Hello "))
    assert written.getvalue() == "Hello "
    view.show(Text("t", 1, 6, "there"))
    view.finish(completed("Hello there"))
    assert written.getvalue() == "Hello there\n"


def test_a_pipe_gets_the_whole_answer_once() -> None:
    view, written = screen(terminal=False)
    view.show(Text("t", 1, 0, "Hel"))
    view.show(restarted(2))
    view.show(Text("t", 2, 0, "Hello"))
    assert written.getvalue() == ""
    view.finish(completed("Hello there"))
    assert written.getvalue() == "Hello there\n"


def test_a_new_attempt_starts_on_a_line_of_its_own() -> None:
    view, written = screen(terminal=True)
    view.show(Text("t", 1, 0, "Half an ans"))
    view.show(restarted(2))
    view.show(Text("t", 2, 0, "Whole"))
    view.finish(completed("Whole"))
    lines = written.getvalue().splitlines()
    assert lines[0] == "Half an ans"
    assert "attempt 2" in lines[1]
    assert lines[2:] == ["Whole"]
    assert view.attempt == 2


def test_the_text_of_a_snapshot_is_gone_on_with() -> None:
    view, written = screen(terminal=True)
    view.show(Reset("e", 4, {"turn": {"turn": "t", "text": "So far"}}))
    view.show(Text("t", 1, 6, " so good"))
    view.finish(completed("So far so good"))
    assert written.getvalue() == "So far so good\n"


def test_citations_and_degradation_are_named() -> None:
    view, written = screen(terminal=False)
    view.finish(
        completed("A", citations=({"marker": 1, "title": "Fees"},), degraded=("short_context",))
    )
    assert "[1] Fees" in written.getvalue()
    assert "degraded: short_context" in written.getvalue()


def test_a_turn_that_failed_says_why() -> None:
    view, written = screen(terminal=False)
    view.finish(Exchange("m", outcome="failed", message="the turn took too long"))
    assert written.getvalue() == "no answer: the turn took too long\n"


def test_an_end_that_overtakes_the_last_pieces_adds_only_what_is_missing() -> None:
    """The connection was gone for a moment, and the answer was complete when it came back."""
    view, written = screen(terminal=True)
    view.show(Text("t", 1, 0, "Hello "))
    view.finish(completed("Hello there"))
    assert written.getvalue() == "Hello there\n"


def test_a_snapshot_that_goes_further_adds_only_what_is_missing() -> None:
    view, written = screen(terminal=True)
    view.show(Text("t", 1, 0, "Hello "))
    view.show(Reset("e", 4, {"turn": {"turn": "t", "text": "Hello the"}}))
    view.show(Text("t", 1, 9, "re"))
    view.finish(completed("Hello there"))
    assert written.getvalue() == "Hello there\n"
