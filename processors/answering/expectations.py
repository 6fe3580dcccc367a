"""What kind of answer a question expects: a time, a price or a number; and which sentences have it.

Words alone do not show this: "how long does it take" and "within 3 to 6 working days" share none.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Figure(Enum):
    """What a question may ask for."""

    TIME = "time"
    PRICE = "price"
    LIMIT = "limit"


_NUMBER = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty)"
_TIME_ASKED = re.compile(
    r"\b(?:how (?:long|soon|fast|quick|quickly)|when|what time|by what date|how many "
    r"(?:days|hours|weeks|minutes)|deadline|until when|delivery time|still waiting)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    rf"\b{_NUMBER}\b[^.;]{{0,20}}\b(?:second|minute|hour|day|week|month)s?\b"
    r"|\b(?:immediately|at once|instantly|overnight|seconds)\b",
    re.IGNORECASE,
)
_PRICE_ASKED = re.compile(
    r"\b(?:how much|cost|costs|price|prices|fee|fees|free|charge|charges|charged|expensive)\b",
    re.IGNORECASE,
)
_PRICE = re.compile(
    r"[£€$]\s?\d|\d\s?%|\bper cent\b|\bfree\b|\bcosts? nothing\b|\bfee\b", re.IGNORECASE
)
_LIMIT_ASKED = re.compile(
    r"\b(?:how many|how often|limits?|maximum|max|minimum|at most|at least|restrictions?|cap)\b",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    rf"\b(?:up to|at most|at least|no more than|limit|maximum|from)\b.*\b{_NUMBER}\b"
)

_ASKED = {Figure.TIME: _TIME_ASKED, Figure.PRICE: _PRICE_ASKED, Figure.LIMIT: _LIMIT_ASKED}
_GIVEN = {Figure.TIME: _TIME, Figure.PRICE: _PRICE, Figure.LIMIT: _LIMIT}


def expected(question: str) -> frozenset[Figure]:
    """What the question asks for; nothing where it asks for no figure."""
    return frozenset(figure for figure, asked in _ASKED.items() if asked.search(question))


@lru_cache(maxsize=8192)
def given(text: str) -> frozenset[Figure]:
    """What a text of an article states. Kept, because articles are quoted again and again."""
    return frozenset(figure for figure, pattern in _GIVEN.items() if pattern.search(text))


def fulfilled(text: str, figures: frozenset[Figure]) -> float:
    """Share of the figures that a text of an article states, 0 to 1; 0 without figures."""
    return len(figures & given(text)) / len(figures) if figures else 0.0
