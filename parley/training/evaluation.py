"""What `make models` measures besides the heads themselves. To add one: list it here."""

from collections.abc import Callable, Sequence
from pathlib import Path

from parley.training.figures import Figure
from parley.training.retrieval_evaluation import evaluate_retrieval

Evaluation = Callable[[Path], Sequence[Figure]]

# Run in this order after the heads are written; each gets the folder of public data.
EVALUATIONS: tuple[tuple[str, Evaluation], ...] = (("retrieval", evaluate_retrieval),)
