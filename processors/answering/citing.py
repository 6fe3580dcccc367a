"""Citations: the numbers in square brackets of an answer, and the passages behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from processors.answering.retrieval import RankedPassage

_MARKER = re.compile(r"\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]")


@dataclass(frozen=True, slots=True)
class CitedPassage:
    """A source of the answer. `marker` is the number in square brackets in the text."""

    marker: int
    document_id: str
    ordinal: int
    title: str
    url: str | None
    score: float

    @classmethod
    def of(cls, marker: int, passage: RankedPassage, score: float) -> CitedPassage:
        """The citation of a passage under a number."""
        return cls(marker, passage.document_id, passage.ordinal, passage.title, passage.url, score)


def cited_in(text: str, passages: Sequence[RankedPassage]) -> tuple[CitedPassage, ...]:
    """The passages that a model's answer cites, in the order of their numbers, from 1.

    Numbers that no passage has are passed over; a model may invent them.
    """
    numbers = {int(part) for found in _MARKER.findall(text) for part in found.split(",")}
    return tuple(
        CitedPassage.of(number, passages[number - 1], passages[number - 1].score)
        for number in sorted(numbers)
        if 1 <= number <= len(passages)
    )
