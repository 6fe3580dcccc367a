"""Records inside records: what analysis found, what an answer cites, what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.envelope import Sealed
from schemas.types import Int32


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of personal data that a placeholder stands for."""

    kind: Annotated[str, "EMAIL, PHONE, CARD, IBAN and so on"]
    start: Annotated[Int32, "First code point of the placeholder in the redacted text"]
    end: Annotated[Int32, "Code point after the placeholder in the redacted text"]
    recogniser: Annotated[str, "Name of the recogniser that found it"]
    confidence: float


@dataclass(frozen=True, slots=True)
class Inference:
    """One model's verdict on one message."""

    task: Annotated[str, "embedding, intent.banking77, out_of_scope, sentiment and so on"]
    label: Annotated[str, "Winning class, empty where the task has none"]
    confidence: Annotated[float, "Probability of the label, 0 to 1"]
    model: str
    digest: Annotated[str, "sha256 of the model file"]
    latency_us: Annotated[int, "Time of the batch that the message was in, in microseconds"]


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that an answer rests on."""

    marker: Annotated[Int32, "The number in square brackets in the text"]
    document_id: str
    passage: Annotated[Int32, "Ordinal of the passage in its document, from 0"]
    score: Annotated[float, "Fused retrieval score"]
    title: Annotated[Sealed, "Title of the document when it was cited"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a generation consumed. One US dollar is 1,000,000,000 nano-dollars."""

    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
