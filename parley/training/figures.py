"""One measured figure and the bar it has to reach."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`share` is between 0 and 1, over `questions` texts; `bar` is the least, in words or empty."""

    what: str
    share: float
    questions: int
    bar: str = ""
    least: float = 0.0

    @property
    def reached(self) -> bool:
        return self.share >= self.least
