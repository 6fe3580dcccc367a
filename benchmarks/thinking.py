"""How much processor time one message takes to think about: its analysis and its grounded answer.

Run it with `python -m benchmarks.thinking`. The demo bank's own example questions are asked, or
those in the column `text` of `--questions FILE`. Keys, Kafka and Redis are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.inference.analyser import Analyser
from infra.inference.encoder import Encoder, load_encoder
from infra.inference.heads import load_heads
from infra.providers import GenerationRequest, GroundedProvider, TextDelta
from infra.telemetry.metrics import Metrics
from parley.training.retrieval_evaluation import demo_index
from processors.analysis.redaction import RedactionHoldback, redact
from processors.answering.context import EarlierTurn, TurnContext
from processors.answering.grounding import SHIPPED, GroundingModel
from processors.answering.retrieval import KnowledgeIndex
from streams.answering.turns import Question
from streams.answering.writer import Writer

MESSAGES = 300
MESSAGES_EACH = 3
"""Of each conversation; the later ones have earlier turns in view."""


@dataclass(slots=True)
class Spent:
    """Processor time by part, in seconds."""

    parts: dict[str, float] = field(default_factory=dict)
    _since: float = 0.0

    def begin(self) -> None:
        """Starts the clock, which counts this process only."""
        self._since = time.process_time()

    def end(self, part: str) -> None:
        """Books what went by since on a part."""
        self.parts[part] = self.parts.get(part, 0.0) + time.process_time() - self._since


class Bench:
    """One tenant's worker, without what stands around it."""

    def __init__(self, encoder: Encoder, index: KnowledgeIndex) -> None:
        self._provider = GroundedProvider()
        self._analyser = Analyser(encoder, load_heads(), Metrics(tenants_max=1))
        self._writer = Writer(
            encoder,
            lambda tenant_id: index,
            GroundingModel.parse(SHIPPED.read_text()),
            self._provider,
            max_output_tokens=512,
            temperature=0.0,
        )
        self.spent = Spent()

    async def think(self, message: str, earlier: tuple[EarlierTurn, ...]) -> EarlierTurn:
        """Analyses and answers one message."""
        self.spent.begin()
        text = redact(message).text
        self.spent.end("redaction of the message")
        self.spent.begin()
        self._analyser.infer([text])
        self.spent.end("encoder and heads")
        self.spent.begin()
        question = Question("demo", TurnContext(text, earlier), "grounded/1", fallback=False)
        answer = await self._writer.answer(question, _ignore)
        self.spent.end("answer")
        self.spent.begin()
        await self._stream(answer.text)
        self.spent.end("of it: streaming through the hold-back")
        return EarlierTurn(text, answer.text, tuple(s.document_id for s in answer.sources))

    async def _stream(self, text: str) -> None:
        """What the writer does with the provider's words, once more and by itself."""
        holdback = RedactionHoldback()
        async for piece in self._provider.stream(GenerationRequest(grounded=text)):
            if isinstance(piece, TextDelta):
                holdback.feed(piece.text)
        holdback.finish()


async def _ignore(text: str) -> None:
    pass


def measure(questions: Sequence[str] | None, messages: int) -> dict[str, float]:
    """Milliseconds of processor time a message, by part."""
    encoder = load_encoder(devices=["cpu"])
    index = demo_index("demo", lambda texts: encoder.encode(texts).embeddings)
    if questions is None:
        # Put a little otherwise, so that none was embedded before.
        known = [item.text for document in index.documents for item in document.questions]
        questions = [f"Hello, {text}" for text in known]
    # A step that is prime to most lengths, so that neighbours are about different things.
    asked = [questions[number * 37 % len(questions)] for number in range(messages)]
    bench = Bench(encoder, index)

    async def converse() -> None:
        for start in range(0, len(asked), MESSAGES_EACH):
            earlier: tuple[EarlierTurn, ...] = ()
            for message in asked[start : start + MESSAGES_EACH]:
                earlier += (await bench.think(message, earlier),)

    asyncio.run(converse())
    return {part: seconds * 1e3 / len(asked) for part, seconds in bench.spent.parts.items()}


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thinking", description=__doc__)
    parser.add_argument("--questions", type=Path, help="a CSV with a column text")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    questions = None
    if args.questions is not None:
        with args.questions.open(newline="", encoding="utf-8") as file:
            questions = [row["text"] for row in csv.DictReader(file)]
    spent = measure(questions, args.messages)
    if args.json:
        print(json.dumps(spent))
        return
    table = Table(title="processor time a message", title_justify="left")
    table.add_column("part")
    table.add_column("ms", justify="right")
    for part, ms in spent.items():
        table.add_row(part, f"{ms:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
