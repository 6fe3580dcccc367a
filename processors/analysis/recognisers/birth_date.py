"""Dates of birth: a numeric date after words that say so. Other dates are nobody's secret."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_DATE = re.compile(
    r"(?<![\w/.-])(?:\d{1,2}(?P<a>[/.-])\d{1,2}(?P=a)(?:19|20)?\d\d"
    r"|(?:19|20)\d\d(?P<b>[/.-])\d{1,2}(?P=b)\d{1,2})(?![\w/-])"
)
_CONTEXT = re.compile(r"(?:\bborn|date of birth|\bd\.?o\.?b\b|birth ?date|birthday)[^\d]{0,16}\Z")


def _find(passage: Passage) -> Iterator[Span]:
    for match in _DATE.finditer(passage.text):
        if _CONTEXT.search(passage.left_of(match.start())):
            yield Span(PiiKind.DATE_OF_BIRTH, match.start(), match.end(), 0.85)


DATE_OF_BIRTH = Recogniser("date_of_birth", _find, needs="0123456789", length_min=6)
