"""Payment card numbers: a known issuer prefix, the right length and the Luhn digit."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.checksums import luhn
from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_DIGITS_MAX = 19
_START = re.compile(r"(?<!\d)(?<!\d[.,])[2-6]")
_RUN = re.compile(rf"\d(?:[ .\-]{{0,2}}\d){{0,{_DIGITS_MAX - 1}}}")

# Issuer prefixes and lengths, from the public ranges of ISO/IEC 7812.
_BRANDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d\d|622\d)\d{12}"  # Discover, UnionPay
    r"|62\d{14,17}"  # UnionPay
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|(?:50\d\d|5[6-9]\d\d|6[0-9]\d\d)\d{8,15}"  # Maestro
)
# The usual lengths first, so that "4111 1111 1111 1111 12/27" is read as a card and a date.
_LENGTHS = (16, 15, 14, 19, 13, 18, 17, 12)


def _card_end(text: str, start: int) -> int | None:
    """Where the card number that begins at `start` ends, if there is one."""
    run = _RUN.match(text, start)
    assert run is not None
    places = [run.start() + i for i, character in enumerate(run[0]) if character.isdigit()]
    digits = "".join(text[place] for place in places)
    for length in _LENGTHS:
        if length > len(places):
            continue
        end = places[length - 1] + 1
        goes_on = text[end : end + 1].isdigit()
        candidate = digits[:length]
        if not goes_on and _BRANDS.fullmatch(candidate) and luhn(candidate):
            return end
    return None


def _find(passage: Passage) -> Iterator[Span]:
    position = 0
    while match := _START.search(passage.text, position):
        end = _card_end(passage.text, match.start())
        if end is not None:
            yield Span(PiiKind.CARD, match.start(), end, 1.0)
        position = end or match.end()


CARD = Recogniser("card", _find, needs="23456", length_min=12)
