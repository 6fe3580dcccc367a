"""Measured figures, the bars that they have to reach, and the table that shows both."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to reach, between 0 and 1: at least `share`, or at most."""

    share: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {100 * self.share:g} %"

    def is_reached_by(self, share: float) -> bool:
        return share <= self.share if self.at_most else share >= self.share


@dataclass(frozen=True, slots=True)
class Figure:
    """`share` is between 0 and 1, over `questions` texts; without a bar it only informs."""

    what: str
    share: float
    questions: int
    bar: Bar | None = None

    @property
    def reached(self) -> bool:
        return self.bar is None or self.bar.is_reached_by(self.share)


def table_of(title: str, figures: Sequence[Figure]) -> Table:
    """The figures as `make models` prints them, each bar with a mark."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for name in ("measured", "bar", "", "texts"):
        table.add_column(name, justify="right")
    for figure in figures:
        bar = "" if figure.bar is None else str(figure.bar)
        share = f"{100 * figure.share:.2f} %"
        table.add_row(figure.what, share, bar, _mark(figure), str(figure.questions))
    return table


def _mark(figure: Figure) -> Text:
    if figure.bar is None:
        return Text("")
    return Text("✓", "bold green") if figure.reached else Text("✗", "bold red")
