"""Credentials that people paste: keys with a known prefix, JSON web tokens, named passwords."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_KEY = re.compile(
    r"(?<![\w-])(?:sk-[\w-]{20,200}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{36,255}"
    r"|github_pat_\w{22,255}|xox[abprs]-[\w-]{10,200}|AIza[\w-]{35}|[sr]k_(?:live|test)_\w{16,200})"
    r"(?![\w-])"
)
_TOKEN = re.compile(r"(?<![\w-])eyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{0,1000}(?![\w-])")
_PASSWORD = re.compile(r"(?<![^\s:=\"'])(?=\S{0,31}\d)[^\s\"',;]{4,64}")
_PASSWORD_CONTEXT = re.compile(r"(?:pass ?word|passphrase|\bpwd)(?: is|:| =|=)[ :='\"]*\Z")


def _find(passage: Passage) -> Iterator[Span]:
    for pattern in (_KEY, _TOKEN):
        for match in pattern.finditer(passage.text):
            yield Span(PiiKind.SECRET, match.start(), match.end(), 0.95)
    for match in _PASSWORD.finditer(passage.text):
        if _PASSWORD_CONTEXT.search(passage.left_of(match.start())):
            end = match.start() + len(match[0].rstrip(".)]}>"))
            yield Span(PiiKind.SECRET, match.start(), end, 0.8)


SECRET = Recogniser("secret", _find, needs="0123456789", length_min=4)
