"""The list of recognisers and who wins where two of them claim the same characters.

To add a family: write its file, add its kind to `PiiKind`, and list its recogniser here.
"""

from processors.analysis.recognisers.banking import BANK_ACCOUNT, SECURITY_CODE
from processors.analysis.recognisers.birth_date import DATE_OF_BIRTH
from processors.analysis.recognisers.card import CARD
from processors.analysis.recognisers.email import EMAIL
from processors.analysis.recognisers.government import ID_DOCUMENT, UK_NINO, US_SSN
from processors.analysis.recognisers.iban import IBAN
from processors.analysis.recognisers.network import IP_ADDRESS, MAC_ADDRESS
from processors.analysis.recognisers.phone import PHONE
from processors.analysis.recognisers.secret import SECRET
from processors.analysis.recognisers.span import Passage, Recogniser, Span
from processors.analysis.recognisers.url import URL
from processors.analysis.recognisers.wallet import CRYPTO_WALLET

# Between spans of the same length the earlier recogniser wins: checksums before shapes.
RECOGNISERS: tuple[Recogniser, ...] = (
    CARD,
    IBAN,
    CRYPTO_WALLET,
    EMAIL,
    US_SSN,
    UK_NINO,
    BANK_ACCOUNT,
    SECURITY_CODE,
    DATE_OF_BIRTH,
    ID_DOCUMENT,
    MAC_ADDRESS,
    IP_ADDRESS,
    URL,
    SECRET,
    PHONE,
)


def find(passage: Passage) -> list[Span]:
    """The values of a passage in order, none overlapping another."""
    characters, length = set(passage.text), len(passage.text)
    found = [
        (span.start - span.end, rank, span)
        for rank, recogniser in enumerate(RECOGNISERS)
        if length >= recogniser.length_min and not characters.isdisjoint(recogniser.needs)
        for span in recogniser.find(passage)
    ]
    found.sort(key=lambda item: item[:2])
    taken = bytearray(len(passage.text))
    spans: list[Span] = []
    for _, _, span in found:
        # A longer span was placed first, so it can only cover this one's ends or all of it.
        if not taken[span.start] and not taken[span.end - 1]:
            taken[span.start : span.end] = b"\x01" * (span.end - span.start)
            spans.append(span)
    return sorted(spans, key=lambda span: span.start)
