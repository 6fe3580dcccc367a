"""Telephone numbers: international, North American and national forms.

Clear shapes count by themselves; bare groups of digits count only beside words like "call" or
"fax", because orders, amounts and dates look the same.
"""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_EXTENSION = r"(?:[ ,]{0,2}(?:x|ext\.?|extn\.?|extension)[ .:]{0,2}\d{1,6})?"
_BEGIN = r"(?<![\w+])(?<!\d[.,:/-])(?<![$£€¥]\d)"
_END = r"(?!\d|[.,:/-]\d|%|[A-Za-wyzA-WYZ]\w)"

_CLEAR = re.compile(
    _BEGIN + r"(?:"
    # +44 20 7946 0958, 00 1-748-088-2851
    r"(?:\+|00(?=[ .-]?[1-9]))[ ]?\(?\d{1,4}\)?(?:[ ./-]{0,2}\(?\d{1,5}\)?){1,6}"
    # 1 (978) 645-9740, 978-645-9740, 833.719.3994
    r"|(?:1[ .-]?)?(?:\(\d{3}\)[ .-]?|\d{3}(?P<us>[ .-]))\d{3}[ .-]\d{4}"
    # (020) 7946 0958, (88) 684-334
    r"|\(0?\d{1,4}\)[ .-]?\d{2,4}(?:[ .-]\d{2,4}){1,2}"
    # 020 7946 0958, 06-10446904, 02.27.96.63.08
    r"|0[1-9]\d{0,3}(?:(?P<sep>[ .-])\d{2,8})(?:(?P=sep)\d{2,4}){0,4}"
    # 07700900123
    r"|0[1-9]\d{8,9}"
    r")" + _EXTENSION + _END,
    re.IGNORECASE,
)
_BARE = re.compile(
    _BEGIN + r"\(?\d{2,5}\)?(?:[ .-]?\d{2,8}){1,4}" + _EXTENSION + _END, re.IGNORECASE
)

_DATE = re.compile(r"\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)\d\d|(?:19|20)\d\d[ ./-]\d\d[ ./-]\d\d")
_SPEAKS_FOR = re.compile(
    r"\b(?:phones?|tel|telephone|mobile|mob|cell|cellphone|call(?:ed|ing|s)?|dial|fax|whatsapp|"
    r"text(?:ed)? me|text|sms|reach|ring|contact|answering|my number|landline|hotline)\b"
)
_SPEAKS_AGAINST = re.compile(
    r"\b(?:orders?|invoice|ref|reference|ticket|tracking|transaction|booking|confirmation|policy|"
    r"case|account|acct|card|amount|total|balance|sort code|serial|model|version|id|code|"
    r"zip|postcode|isbn)\b"
)
_NAMED_OTHERWISE = re.compile(
    r"\b(?:orders?|invoice|ref|reference|ticket|tracking|transaction|booking|confirmation|policy|"
    r"case|serial|isbn)(?: number| no\.?| num| id| code)?(?: is| was|:)?[ :#]*\Z|#\Z"
)
_MONEY = re.compile(r"(?:[$£€¥]|\b(?:usd|eur|gbp|chf|rs))[ ]?\Z")
_LABEL_AFTER = re.compile(r"[ -]{1,2}(?:office|fax|mobile|cell|home|work)\b", re.IGNORECASE)

_DIGITS_MIN, _DIGITS_MAX = 8, 15
_NATIONAL_DIGITS_MIN = 9
_BARE_DIGITS_MIN, _BARE_DIGITS_MAX = 6, 12


def _count(text: str) -> int:
    return sum(map(str.isdigit, re.split(r"[xX]|ext", text, maxsplit=1)[0]))


def _is_clear(passage: Passage, match: re.Match[str]) -> bool:
    value = match[0]
    left = passage.left_of(match.start())
    if value.startswith("+"):
        return _DIGITS_MIN <= _count(value) <= _DIGITS_MAX
    if _DATE.match(value) or _NAMED_OTHERWISE.search(left) or _MONEY.search(left):
        return False
    least = _DIGITS_MIN if value.startswith("(") else _NATIONAL_DIGITS_MIN
    return least <= _count(value) <= _DIGITS_MAX


def _is_spoken_for(passage: Passage, match: re.Match[str]) -> bool:
    """Whether the nearest telling word says that this is a telephone number."""
    if not _BARE_DIGITS_MIN <= _count(match[0]) <= _BARE_DIGITS_MAX or _DATE.match(match[0]):
        return False
    left = passage.left_of(match.start())
    if _MONEY.search(left):
        return False
    if _LABEL_AFTER.match(passage.text, match.end()):
        return True
    nearest_for = max((found.end() for found in _SPEAKS_FOR.finditer(left)), default=-1)
    nearest_against = max((found.end() for found in _SPEAKS_AGAINST.finditer(left)), default=-1)
    return nearest_for > nearest_against


def _find(passage: Passage) -> Iterator[Span]:
    for match in _CLEAR.finditer(passage.text):
        if _is_clear(passage, match):
            # "(+44 20 7946 0958)": the last bracket belongs to the sentence.
            unbalanced = match[0].endswith(")") and match[0].count(")") > match[0].count("(")
            yield Span(PiiKind.PHONE, match.start(), match.end() - unbalanced, 0.8)
    for match in _BARE.finditer(passage.text):
        if _is_spoken_for(passage, match):
            yield Span(PiiKind.PHONE, match.start(), match.end(), 0.6)


PHONE = Recogniser("phone", _find, needs="0123456789", length_min=6)
