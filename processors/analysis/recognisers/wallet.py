"""Cryptocurrency addresses: Bitcoin by checksum, Ethereum by form."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.checksums import base58check, bech32
from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_BITCOIN = re.compile(r"(?<!\w)[13][1-9A-HJ-NP-Za-km-z]{25,34}(?!\w)")
_SEGWIT = re.compile(r"(?<!\w)bc1[02-9ac-hj-np-z]{11,71}(?!\w)", re.IGNORECASE)
_ETHEREUM = re.compile(r"(?<!\w)0x[0-9a-fA-F]{40}(?!\w)")


def _find(passage: Passage) -> Iterator[Span]:
    for match in _BITCOIN.finditer(passage.text):
        if base58check(match[0]):
            yield Span(PiiKind.CRYPTO_WALLET, match.start(), match.end(), 1.0)
    for match in _SEGWIT.finditer(passage.text):
        if bech32(match[0].lower()):
            yield Span(PiiKind.CRYPTO_WALLET, match.start(), match.end(), 1.0)
    for match in _ETHEREUM.finditer(passage.text):
        yield Span(PiiKind.CRYPTO_WALLET, match.start(), match.end(), 0.9)


CRYPTO_WALLET = Recogniser("crypto_wallet", _find, needs="0123456789", length_min=14)
