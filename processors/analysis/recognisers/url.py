"""Web addresses: with a scheme, with `www.`, or a bare domain of a common top level."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

# Bare domains count only under these, or every "end.Next" and "main.py" would be one.
_TOP_LEVELS = (
    "com|org|net|edu|gov|mil|int|biz|io|ai|app|dev|online|shop|site|store|xyz|eu|"
    "co\\.[a-z]{2}|com\\.[a-z]{2}|org\\.uk|ac\\.uk|gov\\.uk|"
    "uk|de|fr|es|pt|nl|se|dk|fi|pl|cz|ch|ca|au|jp|cn|ru|br|ie|nz|za"
)
_REST = r"[^\s<>\"'`{}|\\^]*"
_URL = re.compile(
    rf"(?<![\w@.-])(?:"
    rf"(?P<scheme>(?:https?|ftps?|sftp|wss?)://[\w\[]{_REST})"
    rf"|(?P<www>www\d?\.[\w-]{{1,63}}\.{_REST})"
    rf"|(?P<bare>(?:[a-z0-9](?:[a-z0-9-]{{0,62}})\.){{1,4}}(?:{_TOP_LEVELS})"
    rf"(?![\w-])(?:[/?#:]{_REST})?(?!@))"
    rf")",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?'\"*_~"
_CLOSING = {")": "(", "]": "["}
_CONFIDENCE = {"scheme": 0.95, "www": 0.9, "bare": 0.6}


def _trimmed(url: str) -> str:
    """Without the punctuation of the sentence around it; brackets that the URL opened stay."""
    end = len(url)
    opened = {close: url.count(opening) for close, opening in _CLOSING.items()}
    closed = {close: url.count(close) for close in _CLOSING}
    while end:
        last = url[end - 1]
        if last in _CLOSING and closed[last] > opened[last]:
            closed[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return url[:end]


def _find(passage: Passage) -> Iterator[Span]:
    for match in _URL.finditer(passage.text):
        assert match.lastgroup is not None
        end = match.start() + len(_trimmed(match[0]))
        yield Span(PiiKind.URL, match.start(), end, _CONFIDENCE[match.lastgroup])


URL = Recogniser("url", _find, needs=".:", length_min=4)
