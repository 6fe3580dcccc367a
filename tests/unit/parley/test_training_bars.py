"""What `make models` prints of a bar, and that no bar is missed with an exit code of 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from parley.training import __main__ as training
from parley.training.figures import Bar, Figure, table_of
from parley.training.recipes import TrainedHead

MOST = Bar(0.1, at_most=True)


@pytest.mark.parametrize(
    ("bar", "share", "is_reached"),
    [
        (Bar(0.85), 0.85, True),
        (Bar(0.85), 0.8499, False),
        (MOST, 0.1, True),
        (MOST, 0.1001, False),
        (None, 0.0, True),
    ],
)
def test_a_bar_is_a_floor_or_a_ceiling(bar: Bar | None, share: float, is_reached: bool) -> None:
    assert Figure("share", share, 10, bar).reached is is_reached


def test_the_table_shows_the_bar_and_whether_it_is_reached() -> None:
    console = Console(record=True, width=80)
    figures = (
        Figure("found", 0.936, 2519, Bar(0.85)),
        Figure("declined", 0.12, 2519, MOST),
        Figure("only told", 0.5, 7),
    )
    console.print(table_of("retrieval", figures))
    found, declined, told = console.export_text().splitlines()[4:7]
    assert [cell.strip() for cell in found.split("│")[1:-1]] == [
        "found",
        "93.60 %",
        "≥ 85 %",
        "✓",
        "2519",
    ]
    assert "≤ 10 %" in declined
    assert "✗" in declined
    assert "✓" not in told
    assert "✗" not in told


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`trained(of_head, of_retrieval)`: the exit code where those are the figures.

    Training itself takes minutes and writes what ships, so it stays out of this.
    """

    def run(of_head: Figure, of_retrieval: Figure, *arguments: str) -> int:
        head = TrainedHead("banking77", b"", (), "", "", (of_head,))
        monkeypatch.setattr(training, "load_encoder", lambda progress: None)
        monkeypatch.setattr(training, "_train", lambda encoder, chosen: [head])
        monkeypatch.setattr(training, "write", lambda heads, seed: 0)

        def evaluate(data: Path) -> list[Figure]:
            return [of_retrieval]

        monkeypatch.setattr(training, "EVALUATIONS", (("retrieval", evaluate),))
        monkeypatch.setattr("sys.argv", ["training", *arguments])
        return training.main()

    return run


GOOD, BAD = Figure("good", 0.9, 10, Bar(0.85)), Figure("bad", 0.8, 10, Bar(0.85))


@pytest.mark.parametrize(
    ("of_head", "of_retrieval", "code"),
    [(GOOD, GOOD, 0), (BAD, GOOD, 1), (GOOD, BAD, 1), (GOOD, Figure("told", 0.1, 10), 0)],
)
def test_one_missed_bar_of_heads_or_of_retrieval_is_an_exit_code_of_1(
    trained: Callable[..., int], of_head: Figure, of_retrieval: Figure, code: int
) -> None:
    assert trained(of_head, of_retrieval) == code


def test_what_is_left_out_cannot_miss_its_bar(trained: Callable[..., int]) -> None:
    assert trained(GOOD, BAD, "--heads-only") == 0
