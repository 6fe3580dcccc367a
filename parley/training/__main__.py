"""`python -m parley.training`: trains the heads, measures them and everything built on them."""

import argparse
import sys
import warnings
from pathlib import Path

from rich.console import Console

from infra.inference.encoder import Encoder, load_encoder
from parley.progress import Downloads, counting
from parley.training.corpora import CorpusMissing
from parley.training.evaluation import EVALUATIONS
from parley.training.features import Encoded, encode
from parley.training.figures import Figure, table_of
from parley.training.recipes import RECIPES, TrainedHead
from parley.training.writing import write

_DATA = Path("../shared/data")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m parley.training", description=__doc__)
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of public data")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--only", nargs="+", choices=RECIPES, default=list(RECIPES), help="train these heads"
    )
    parser.add_argument("--heads-only", action="store_true", help="leave out the evaluations")
    return parser.parse_args()


def _train(encoder: Encoder, chosen: argparse.Namespace) -> list[TrainedHead]:
    heads: list[TrainedHead] = []
    with counting() as bars:
        for name in chosen.only:

            def encode_with_bar(texts: tuple[str, ...], name: str = name) -> Encoded:
                task = bars.add_task(f"{name}: encoding", total=len(texts))
                encoded = encode(encoder, texts, lambda done: bars.advance(task, done))
                bars.update(task, description=f"{name}: fitting")
                return encoded

            heads.append(RECIPES[name](chosen.data, encode_with_bar, chosen.seed))
    return heads


def main() -> int:
    """Exit code 0: all bars are reached; 1: one is not; 2: there is no data."""
    arguments = _arguments()
    console = Console()
    # liblinear stops at its iteration limit on a few rare labels; the figures show that it is
    # far enough.
    warnings.filterwarnings("ignore", message="Liblinear failed to converge")
    try:
        with Downloads() as bars:
            encoder = load_encoder(progress=bars)
        heads = _train(encoder, arguments)
        size = write(heads, arguments.seed)
        figures: list[Figure] = [figure for head in heads for figure in head.figures]
        console.print(table_of(f"heads ({size / 1e6:.1f} MB)", figures))
        for title, evaluate in () if arguments.heads_only else EVALUATIONS:
            measured = evaluate(arguments.data)
            console.print(table_of(title, measured))
            figures += measured
    except CorpusMissing as error:
        console.print(str(error), style="red")
        return 2
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
