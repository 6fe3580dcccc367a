"""Addresses of machines: IPv4, IPv6 and MAC."""

import ipaddress
import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.:-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.\d)")
_VERSION_CONTEXT = re.compile(r"(?:\bv|version|release|build|firmware)[ :.]*\Z")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w:])")
_MAC = re.compile(
    r"(?<![\w:-])[0-9A-Fa-f]{2}(?P<separator>[:-])(?:[0-9A-Fa-f]{2}(?P=separator)){4}"
    r"[0-9A-Fa-f]{2}(?![\w:-])"
)


def _is_ipv6(candidate: str) -> bool:
    # "Add::Be" parses as an address too; real ones have a digit and more than two groups,
    # or begin with the colons.
    if candidate.count(":") < 2 or not any(map(str.isdigit, candidate)):
        return False
    try:
        ipaddress.IPv6Address(candidate)
    except ValueError:
        return False
    return True


def _addresses(passage: Passage) -> Iterator[Span]:
    for match in _IPV4.finditer(passage.text):
        if not _VERSION_CONTEXT.search(passage.left_of(match.start())):
            yield Span(PiiKind.IP_ADDRESS, match.start(), match.end(), 0.9)
    if passage.text.count(":") >= 2:
        for match in _IPV6.finditer(passage.text):
            end = match.end() - (match[0].endswith(":") and not match[0].endswith("::"))
            if _is_ipv6(passage.text[match.start() : end]):
                yield Span(PiiKind.IP_ADDRESS, match.start(), end, 0.9)


def _hardware(passage: Passage) -> Iterator[Span]:
    for match in _MAC.finditer(passage.text):
        yield Span(PiiKind.MAC_ADDRESS, match.start(), match.end(), 0.9)


IP_ADDRESS = Recogniser("ip_address", _addresses, needs="0123456789", length_min=3)
MAC_ADDRESS = Recogniser("mac_address", _hardware, needs=":-", length_min=17)
