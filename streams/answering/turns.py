"""What an attempt at a turn is given, what it gives back, and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from processors.answering.context import TurnContext
from schemas.parts import Usage


@dataclass(frozen=True, slots=True)
class Question:
    """A turn to be answered; all texts in it are redacted."""

    tenant_id: str
    context: TurnContext
    prompt_version: str
    fallback: bool
    """An earlier attempt lost its provider in mid-answer: take the one that is always there."""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage that the answer cites."""

    marker: int
    document_id: str
    passage: int
    score: float
    title: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, as it was streamed."""

    text: str
    sources: tuple[Source, ...]
    usage: Usage
    declined: bool
    confidence: float
    degraded: tuple[str, ...] = ()


Say = Callable[[str], Awaitable[None]]
"""Streams the next stretch of the answer."""


class Interrupted(Exception):
    """The provider was lost after it had begun to speak; only a new attempt can make it whole."""


class Answerer(Protocol):
    """Writes answers."""

    async def answer(self, question: Question, say: Say) -> Answer:
        """Answers, saying each stretch as it comes. The stretches joined are `Answer.text`.

        Raises `Interrupted`; and where nothing was said yet, `Unavailable` if a later try can
        succeed and `Invalid` if none can.
        """
        ...
