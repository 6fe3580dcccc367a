"""E-mail addresses, also with `[at]` and `(dot)` written out."""

import re
from collections.abc import Iterator

from processors.analysis.recognisers.span import Passage, PiiKind, Recogniser, Span

_DOT = r"(?:\.|\[dot\]|\(dot\))"

# The look-behind and the possessive `++` make each run of local characters be read once, so that
# 32 KiB of letters without an @ cost one pass and not one for every letter.
_ADDRESS = re.compile(
    r"(?<![\w.%+'&-])(?P<local>[\w.%+'&-]++)(?:@|\[at\]|\(at\))"
    rf"(?:[^\W_](?:[\w-]{{0,62}})?{_DOT}){{1,8}}[^\W\d_](?:[\w-]{{0,22}}[^\W_])(?![\w-]*@)",
    re.IGNORECASE,
)


def _find(passage: Passage) -> Iterator[Span]:
    for match in _ADDRESS.finditer(passage.text):
        start = match.start() + len(match["local"]) - len(match["local"].lstrip(".'&-"))
        if start < match.end("local"):
            yield Span(PiiKind.EMAIL, start, match.end(), 0.95)


EMAIL = Recogniser("email", _find, needs="@[(", length_min=6)
