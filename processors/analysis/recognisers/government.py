"""Numbers that states give to people: US social security, UK national insurance, documents."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_SSN = re.compile(
    r"(?<![\w.-])(?!000|666|9)\d{3}(?P<separator>[ -])(?!00)\d\d(?P=separator)(?!0000)\d{4}"
    r"(?![\w-]|\.\d)"
)
_SSN_PLAIN = re.compile(r"(?<![\w.-])(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}(?![\w-]|\.\d)")
_SSN_CONTEXT = re.compile(r"\bssn\b|social security|\bsocial\b")

# Prefixes that HMRC never gives out are excluded, but for the QQ of its own examples.
_NINO = re.compile(
    r"(?<![A-Za-z0-9])(?:QQ|(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])"
    r"(?P<separator>[ -]?)\d\d(?P=separator)\d\d(?P=separator)\d\d(?P=separator)[A-D]"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)

_DOCUMENT = re.compile(r"(?<![\w-])(?=[A-Za-z]{0,4}\d)[A-Za-z0-9](?:-?[A-Za-z0-9]){5,19}(?![\w-])")
_DOCUMENT_CONTEXT = re.compile(
    r"(?:driver'?s?'? licen[cs]e|driving licen[cs]e|licen[cs]e|passport|id card|identity card|"
    r"national id)(?: number| no\.?| num| ?#)?(?: is|:| =)?[ :#]*\Z"
)


def _social_security(passage: Passage) -> Iterator[Span]:
    for match in _SSN.finditer(passage.text):
        yield Span(PiiKind.US_SSN, match.start(), match.end(), 0.85)
    for match in _SSN_PLAIN.finditer(passage.text):
        if _SSN_CONTEXT.search(passage.left_of(match.start())):
            yield Span(PiiKind.US_SSN, match.start(), match.end(), 0.8)


def _national_insurance(passage: Passage) -> Iterator[Span]:
    for match in _NINO.finditer(passage.text):
        yield Span(PiiKind.UK_NINO, match.start(), match.end(), 0.9)


def _documents(passage: Passage) -> Iterator[Span]:
    for match in _DOCUMENT.finditer(passage.text):
        if _DOCUMENT_CONTEXT.search(passage.left_of(match.start())):
            yield Span(PiiKind.ID_DOCUMENT, match.start(), match.end(), 0.8)


US_SSN = Recogniser("us_ssn", _social_security, needs="0123456789", length_min=9)
UK_NINO = Recogniser("uk_nino", _national_insurance, needs="0123456789", length_min=9)
ID_DOCUMENT = Recogniser("id_document", _documents, needs="0123456789", length_min=6)
