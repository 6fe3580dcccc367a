"""What only a bank's customers write: account numbers, sort codes, PINs and security codes.

These are plain digits, so each needs the words before it; a sort code followed by an account
number speaks for itself.
"""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.checksums import aba_routing
from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_SORT_CODE = re.compile(r"(?<![\w-])\d\d(?P<separator>[- ])\d\d(?P=separator)\d\d(?![\w-])")
_SORT_AND_ACCOUNT = re.compile(r"(?<![\w-])\d\d-\d\d-\d\d[ /]{1,3}\d{8}(?![\w-])")
_DIGITS = re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){2,16}(?![\w-]|[.,]\d)")
_LINK = r"(?: number| no\.?| num| ?#)?(?: is| are|:| =| was)?[ :#]*\Z"
_SORT_CONTEXT = re.compile(r"sort ?code" + _LINK)
_ACCOUNT_CONTEXT = re.compile(r"(?:\baccount|\bacct|\ba/c)\.?" + _LINK)
_ROUTING_CONTEXT = re.compile(r"(?:\brouting|\baba)" + _LINK)
_CODE_CONTEXT = re.compile(
    r"(?:\bpin|\bpin code|passcode|\bcvv2?|\bcvc2?|security code|one[- ]time (?:code|password)|"
    r"\botp|verification code)" + _LINK
)


def _accounts(passage: Passage) -> Iterator[Span]:
    for match in _SORT_AND_ACCOUNT.finditer(passage.text):
        yield Span(PiiKind.BANK_ACCOUNT, match.start(), match.end(), 0.9)
    for match in _SORT_CODE.finditer(passage.text):
        if _SORT_CONTEXT.search(passage.left_of(match.start())):
            yield Span(PiiKind.BANK_ACCOUNT, match.start(), match.end(), 0.9)
    for match in _DIGITS.finditer(passage.text):
        digits = "".join(filter(str.isdigit, match[0]))
        left = passage.left_of(match.start())
        is_account = len(digits) >= 6 and _ACCOUNT_CONTEXT.search(left)
        is_routing = len(digits) == 9 and _ROUTING_CONTEXT.search(left) and aba_routing(digits)
        if is_account or is_routing:
            yield Span(PiiKind.BANK_ACCOUNT, match.start(), match.end(), 0.8)


def _codes(passage: Passage) -> Iterator[Span]:
    for match in _DIGITS.finditer(passage.text):
        if len(match[0]) <= 8 and _CODE_CONTEXT.search(passage.left_of(match.start())):
            yield Span(PiiKind.SECURITY_CODE, match.start(), match.end(), 0.8)


BANK_ACCOUNT = Recogniser("bank_account", _accounts, needs="0123456789", length_min=6)
SECURITY_CODE = Recogniser("security_code", _codes, needs="0123456789", length_min=3)
