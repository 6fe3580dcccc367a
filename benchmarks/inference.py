"""How many texts a second one core analyses in fp32: encoder, heads and redaction.

Run it with `python -m benchmarks.inference`. The texts are written here, of the lengths that
customers write; timings on a shared machine are noisy, so the best of several runs counts.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count

from rich.console import Console
from rich.table import Table

from infra.inference.encoder import load_encoder
from infra.inference.heads import load_heads
from processors.analysis.redaction import redact

TEXTS = (
    "My card still has not arrived, it has been two weeks now.",
    "How do I change my PIN?",
    "Why was I charged twice for the same payment at the petrol station yesterday?",
    "top up by bank transfer",
    "I sent money to the wrong account, the IBAN was GB82 WEST 1234 5698 7654 32, please help",
    "Is there a fee when I pay in another currency abroad?",
    "Hello",
    "You can reach me at jane.doe@example.com or +44 20 7946 0958 after six in the evening.",
)
ROUNDS = 5
TEXTS_PER_ROUND = 128
BATCHES = (1, 8, 32)
_NUMBERS = count(1000)


def _best_ms(work: Callable[[Sequence[str]], object], batch: int) -> float:
    """Milliseconds per text in the best round."""
    best = float("inf")
    work(_texts(batch))
    for _ in range(ROUNDS):
        texts = _texts(TEXTS_PER_ROUND)
        began = time.perf_counter()
        for start in range(0, len(texts), batch):
            work(texts[start : start + batch])
        best = min(best, (time.perf_counter() - began) / len(texts))
    return best * 1e3


def _texts(wanted: int) -> list[str]:
    """Texts that nobody had before: the encoder remembers what it has just encoded."""
    return [f"{TEXTS[number % len(TEXTS)]} {next(_NUMBERS)}" for number in range(wanted)]


def measure() -> list[dict[str, float | int | str]]:
    """Rows of `what`, `batch`, `ms` (per text) and `texts_s`."""
    encoder, heads = load_encoder(devices=["cpu"]), load_heads()

    def all_of_it(part: Sequence[str]) -> object:
        redactions = [redact(text) for text in part]
        return heads.score(encoder.encode([each.text for each in redactions]))

    steps: tuple[tuple[str, Callable[[Sequence[str]], object]], ...] = (
        ("redaction", lambda part: [redact(text) for text in part]),
        ("encoder", encoder.encode),
        ("redaction, encoder and heads", all_of_it),
    )
    rows: list[dict[str, float | int | str]] = []
    for what, work in steps:
        for batch in BATCHES if what != "redaction" else (1,):
            ms = _best_ms(work, batch)
            rows.append({"what": what, "batch": batch, "ms": ms, "texts_s": 1e3 / ms})
    return rows


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = measure()
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    table = Table(title="one core, fp32", title_justify="left")
    for name in ("step", "batch", "ms a text", "texts a second"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for row in rows:
        table.add_row(
            str(row["what"]), str(row["batch"]), f"{row['ms']:.2f}", f"{row['texts_s']:.0f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
