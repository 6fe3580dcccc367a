"""`python -m parley.training`: trains the heads, measures them and everything built on them."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.inference.encoder import Encoder, load_encoder
from parley.progress import Downloads, counting
from parley.training.corpora import CorpusMissing
from parley.training.evaluation import EVALUATIONS, Measured
from parley.training.features import Encoded, encode
from parley.training.figures import Figure
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


def _table(title: str, rows: Sequence[Measured]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for name in ("measured", "bar", "texts"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row.what, f"{row.share:.2%}", row.bar, str(row.questions))
    return table


def main() -> int:
    """Exit code 0: all bars of the heads are reached; 1: one is not; 2: there is no data."""
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
        console.print(_table(f"heads ({size / 1e6:.1f} MB)", figures))
        if not arguments.heads_only:
            for title, evaluate in EVALUATIONS:
                console.print(_table(title, evaluate(arguments.data)))
    except CorpusMissing as error:
        console.print(str(error), style="red")
        return 2
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
