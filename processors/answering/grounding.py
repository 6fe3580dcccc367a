"""Decides whether a tenant's knowledge holds an answer: a logistic model over search evidence.

The evidence consists of cosines, so that one calibration serves tenants of any size
and trade. `parley.training.retrieval_evaluation` fits it; its numbers are in `grounding.json`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from processors.answering.retrieval import Evidence

FEATURES = ("best_question", "article_questions", "best_passage")

SHIPPED = Path(__file__).with_name("grounding.json")
"""The calibration that belongs to this code. Reading it is left to the caller: the thinking
does no I/O."""


@dataclass(frozen=True, slots=True)
class GroundingModel:
    """Weights of `FEATURES`, the bias, and the probability below which an answer is declined."""

    weights: tuple[float, ...]
    bias: float
    threshold: float

    @classmethod
    def parse(cls, text: str) -> GroundingModel:
        """Reads the JSON of `dump`. Raises `ValueError` where it is of another shape."""
        try:
            stored = json.loads(text)
            weights = tuple(float(stored["weights"][name]) for name in FEATURES)
            return cls(weights, float(stored["bias"]), float(stored["threshold"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the grounding calibration is unreadable ({error!r}): make it again with "
                '"make models"'
            ) from None

    def dump(self) -> str:
        """The model as JSON with sorted keys, rounded so that a new fit gives a small diff."""
        weights = {
            name: round(weight, 4) for name, weight in zip(FEATURES, self.weights, strict=True)
        }
        stored = {
            "bias": round(self.bias, 4),
            "threshold": round(self.threshold, 4),
            "weights": weights,
        }
        return json.dumps(stored, indent=2, sort_keys=True) + "\n"

    def confidence(self, evidence: Evidence) -> float:
        """Probability, 0 to 1, that the best article answers the question."""
        logit = self.bias + sum(
            weight * value for weight, value in zip(self.weights, features(evidence), strict=True)
        )
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))

    def knows(self, evidence: Evidence) -> bool:
        """Whether to answer at all."""
        return self.confidence(evidence) >= self.threshold


def features(evidence: Evidence) -> tuple[float, ...]:
    """The evidence in the order of `FEATURES`."""
    return tuple(float(getattr(evidence, name)) for name in FEATURES)
