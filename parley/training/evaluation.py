"""What `make models` measures besides the heads themselves. To add one: list it here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from parley.training.retrieval_evaluation import evaluate_retrieval


class Measured(Protocol):
    """One line of the printed table; `bar` says what it has to reach, or is empty."""

    @property
    def what(self) -> str: ...
    @property
    def share(self) -> float: ...
    @property
    def questions(self) -> int: ...
    @property
    def bar(self) -> str: ...


Evaluation = Callable[[Path], Sequence[Measured]]

# Run in this order after the heads are written; each gets the folder of public data.
EVALUATIONS: tuple[tuple[str, Evaluation], ...] = (("retrieval", evaluate_retrieval),)
