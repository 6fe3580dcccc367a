"""What kind of answer a question expects: a time, a price or a number; and which sentences have it.

Words alone do not show this: "how long does it take" and "within 3 to 6 working days" share none.
"""

from __future__ import annotations

import re

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

_KINDS = ((_TIME_ASKED, _TIME), (_PRICE_ASKED, _PRICE), (_LIMIT_ASKED, _LIMIT))


def expected(question: str) -> tuple[re.Pattern[str], ...]:
    """Patterns of what the question asks for; none where it asks for no figure."""
    return tuple(given for asked, given in _KINDS if asked.search(question))


def fulfilled(sentence: str, patterns: tuple[re.Pattern[str], ...]) -> float:
    """Share of the patterns that the sentence meets, 0 to 1; 0 without patterns."""
    if not patterns:
        return 0.0
    return sum(pattern.search(sentence) is not None for pattern in patterns) / len(patterns)
