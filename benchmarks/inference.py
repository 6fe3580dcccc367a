"""How many texts a second are analysed in fp32, on one core or a GPU: encoder, heads, redaction.

Run it with `python -m benchmarks.inference [--device cuda]`. On a GPU it also says how far its
embeddings are from the CPU's, and whether a verdict differs. The texts are written here, of the
lengths that customers write; timings on a shared machine are noisy, so the best round counts.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from rich.console import Console
from rich.table import Table

from infra.inference.encoder import load_encoder
from infra.inference.heads import Scores, load_heads
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
TEXTS_PER_ROUND = {"cpu": 128, "cuda": 4096}
BATCHES = {"cpu": (1, 8, 32), "cuda": (1, 32, 256, 2048)}
COMPARED = 2000
_NUMBERS = count(1000)


def _best_ms(work: Callable[[Sequence[str]], object], batch: int, of: int) -> float:
    """Milliseconds per text in the best round of so many texts."""
    best = float("inf")
    work(_texts(batch))
    for _ in range(ROUNDS):
        texts = _texts(max(batch, min(of, 100 * batch)))
        began = time.perf_counter()
        for start in range(0, len(texts), batch):
            work(texts[start : start + batch])
        best = min(best, (time.perf_counter() - began) / len(texts))
    return best * 1e3


def _texts(wanted: int) -> list[str]:
    """Texts that nobody had before: the encoder remembers what it has just encoded."""
    return [f"{TEXTS[number % len(TEXTS)]} {next(_NUMBERS)}" for number in range(wanted)]


def measure(device: str) -> list[dict[str, float | int | str]]:
    """Rows of `what`, `batch`, `ms` (per text) and `texts_s`."""
    encoder, heads = load_encoder(devices=[device]), load_heads()

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
        for batch in BATCHES[device] if what != "redaction" else (1,):
            ms = _best_ms(work, batch, TEXTS_PER_ROUND[device])
            rows.append({"what": what, "batch": batch, "ms": ms, "texts_s": 1e3 / ms})
    return rows


def compared(device: str) -> dict[str, float | int]:
    """How far a device is from the CPU: the largest difference, and verdicts that differ."""
    texts, heads = _texts(COMPARED), load_heads()
    one, other = (load_encoder(devices=[each]).encode(texts) for each in ("cpu", device))
    pairs = zip(heads.score(one), heads.score(other), strict=True)
    return {
        "texts": COMPARED,
        "largest_difference": float(np.abs(one.embeddings - other.embeddings).max()),
        "other_verdicts": sum(_labels(a) != _labels(b) for a, b in pairs),
    }


def _labels(scores: Scores) -> tuple[str, ...]:
    verdicts = (scores.banking77, scores.clinc150, scores.scope, scores.sentiment, scores.safety)
    return tuple(verdict.name for verdict in verdicts)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--device", choices=list(BATCHES), default="cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = measure(chosen.device)
    apart = None if chosen.device == "cpu" else compared(chosen.device)
    if chosen.json:
        print(json.dumps({"rows": rows, "compared": apart}))
        return
    where = "one core" if chosen.device == "cpu" else f"one core and {chosen.device}"
    table = Table(title=f"{where}, fp32", title_justify="left")
    for name in ("step", "batch", "ms a text", "texts a second"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for row in rows:
        table.add_row(
            str(row["what"]), str(row["batch"]), f"{row['ms']:.3f}", f"{row['texts_s']:.0f}"
        )
    console = Console()
    console.print(table)
    if apart is not None:
        console.print(
            f"of {apart['texts']} texts {apart['other_verdicts']} got another verdict than on the "
            f"CPU; no number of an embedding is further off than {apart['largest_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
