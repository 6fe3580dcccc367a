"""`parley analyse`: what the analysis stage records for a text, without any stack."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import load_settings
from parley.options import Data
from processors.analysis.analysing import findings
from processors.analysis.redaction import redact
from schemas.parts import Inference

BATCH = 32
_INTENT = "intent."


def analyse(
    file: Annotated[
        str, typer.Argument(help="A text file, one message a line; - is the input.")
    ] = "-",
    data: Data = None,
) -> None:
    """Prints what the analysis stage records for each line of text, as JSON lines.

    The redacted text, the personal data that was found in it (kinds and places, never values),
    intents, whether the message is out of scope, sentiment, and each model's digest. Needs no
    running stack.

    Example:

      echo "My card 4111 1111 1111 1111 was charged twice" | parley analyse | jq .redacted
    """
    from infra.inference.analyser import configured_encoder, load_models
    from infra.inference.artifacts import ModelCache
    from infra.telemetry.metrics import Metrics
    from parley.progress import Downloads

    with _lines(file) as lines:
        settings = load_settings(data).inference
        with Downloads() as bars:
            ModelCache(settings.model_cache).ensure(bars)
        models = load_models(configured_encoder(settings), Metrics())
        # Whoever types lines wants to see each of them answered.
        size = 1 if file == "-" and sys.stdin.isatty() else BATCH
        for batch in _batches(lines, size):
            redactions = [redact(text) for text in batch]
            verdicts = models.infer([each.text for each in redactions])
            for redaction, inferences in zip(redactions, verdicts, strict=True):
                found = [asdict(each) for each in findings(redaction)]
                _print({"redacted": redaction.text, "findings": found, **by_task(inferences)})


def by_task(inferences: Sequence[Inference]) -> dict[str, Any]:
    """The verdicts by what they are about, and all of them as the log keeps them."""
    intents: dict[str, Any] = {}
    verdicts: dict[str, Any] = {}
    for each in inferences:
        verdict = {"label": each.label, "confidence": round(each.confidence, 4)}
        if each.task.startswith(_INTENT):
            intents[each.task.removeprefix(_INTENT)] = verdict
        elif each.label:
            verdicts[each.task] = verdict
    return {"intents": intents, **verdicts, "inferences": [asdict(each) for each in inferences]}


@contextmanager
def _lines(file: str) -> Iterator[Iterator[str]]:
    """The lines of a file or of standard input, without empty ones."""
    if file == "-":
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        yield _with_text(sys.stdin)
        return
    if not Path(file).exists():
        raise typer.BadParameter(f"there is no file {file}; for a text: echo TEXT | parley analyse")
    with Path(file).open(encoding="utf-8", errors="replace") as opened:
        yield _with_text(opened)


def _with_text(lines: Iterable[str]) -> Iterator[str]:
    return (line.strip() for line in lines if line.strip())


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(lines)
    while batch := list(islice(rest, size)):
        yield batch


def _print(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry, ensure_ascii=False) + "\n")
    sys.stdout.flush()
