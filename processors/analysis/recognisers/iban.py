"""International bank account numbers: the country's length and the mod-97 check."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.checksums import iban_mod_97
from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

# Lengths by country, from the SWIFT IBAN registry.
_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FO", "FK", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
_START = re.compile(r"(?<![A-Za-z0-9])(?P<country>[A-Za-z]{2})[ -]?\d[ -]?\d")
_CHARACTER = re.compile(r"[A-Za-z0-9]")


def _find(passage: Passage) -> Iterator[Span]:
    for match in _START.finditer(passage.text):
        length = _LENGTHS.get(match["country"].upper())
        if length is None:
            continue
        # Twice the length leaves room for a separator after every character.
        window = _CHARACTER.finditer(passage.text, match.start(), match.start() + 2 * length)
        places = [found.start() for found in window][:length]
        if len(places) < length:
            continue
        end = places[-1] + 1
        following = passage.text[end : end + 1]
        iban = "".join(passage.text[place] for place in places)
        between = set(passage.text[match.start() : end]) - set(iban)
        if between <= {" ", "-", "."} and not following.isalnum() and iban_mod_97(iban):
            yield Span(PiiKind.IBAN, match.start(), end, 1.0)


IBAN = Recogniser("iban", _find, needs="0123456789", length_min=15)
