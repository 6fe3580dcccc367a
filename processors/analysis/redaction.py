"""Replaces personal values by numbered placeholders, in a whole text or in a stream.

Pure. A stream gives exactly what the whole text would: both go through the same cutter, which
looks left and one word ahead only. Who may see the original is not decided here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from processors.analysis.recognisers.catalogue import find
from processors.analysis.recognisers.normalisation import normalise, plain_end
from processors.analysis.recognisers.passages import PassageCutter, Stretch
from processors.analysis.recognisers.span import CONTEXT_CHARACTERS_MAX, Passage, PiiKind


@dataclass(frozen=True, slots=True)
class Finding:
    """One value: where it stood in the original and where its placeholder stands now.

    Places are code points, end exclusive. The same value has the same `number` in one text.
    """

    kind: PiiKind
    number: int
    confidence: float
    start: int
    original_start: int
    original_end: int

    @property
    def placeholder(self) -> str:
        return f"<{self.kind}_{self.number}>"

    @property
    def end(self) -> int:
        return self.start + len(self.placeholder)


@dataclass(frozen=True, slots=True)
class Redaction:
    """A text with placeholders, and what they stand for, in order."""

    text: str
    findings: tuple[Finding, ...] = ()


class Redactor:
    """Redacts one text that arrives in stretches; remembers numbers and the words to the left."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._numbers: dict[tuple[PiiKind, str], int] = {}
        self._counts: dict[PiiKind, int] = {}
        self._before = ""
        self._read = 0  # code points of the original so far
        self._written = 0  # code points of the redacted text so far

    def take(self, stretches: Iterable[Stretch]) -> str:
        """The redacted text of the next stretches."""
        return "".join([self._take(stretch) for stretch in stretches])

    def _take(self, stretch: Stretch) -> str:
        original = stretch.text
        redacted = self._replace(original) if stretch.examine else original
        end = plain_end(original, CONTEXT_CHARACTERS_MAX)
        self._before = (self._before + end)[-CONTEXT_CHARACTERS_MAX:]
        self._read += len(original)
        self._written += len(redacted)
        return redacted

    def _replace(self, original: str) -> str:
        normalised = normalise(original)
        pieces: list[str] = []
        copied, length = 0, 0  # of the original, of the pieces
        for span in find(Passage(normalised.text, self._before)):
            start, end = normalised.original(span.start, span.end)
            length += start - copied
            finding = Finding(
                kind=span.kind,
                number=self._number(span.kind, normalised.text[span.start : span.end]),
                confidence=span.confidence,
                start=self._written + length,
                original_start=self._read + start,
                original_end=self._read + end,
            )
            self.findings.append(finding)
            pieces += (original[copied:start], finding.placeholder)
            length += len(finding.placeholder)
            copied = end
        return "".join([*pieces, original[copied:]])

    def _number(self, kind: PiiKind, value: str) -> int:
        """The value's number; spaces, dashes and capitals make no other value of it."""
        key = kind, "".join(filter(str.isalnum, value)).lower()
        if key not in self._numbers:
            self._counts[kind] = self._numbers[key] = self._counts.get(kind, 0) + 1
        return self._numbers[key]


def redact(text: str) -> Redaction:
    """Replaces every value that a recogniser finds by `<KIND_n>`.

    "card 4111 1111 1111 1111" gives "card <CARD_1>" and one finding.
    """
    cutter, redactor = PassageCutter(), Redactor()
    redacted = redactor.take([*cutter.feed(text), *cutter.finish()])
    return Redaction(redacted, tuple(redactor.findings))


class RedactionHoldback:
    """Redacts text while it streams. Never lets go the beginning of what may become a value.

    The pieces from `feed` and `finish`, joined, are `redact(whole).text`. An ordinary word is
    held until the next character after it; a number until the word after it.
    """

    def __init__(self) -> None:
        self._cutter = PassageCutter()
        self._redactor = Redactor()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, with places in the whole text."""
        return tuple(self._redactor.findings)

    def feed(self, piece: str) -> str:
        """The redacted text that nothing to come can change; often empty."""
        return self._redactor.take(self._cutter.feed(piece))

    def finish(self) -> str:
        """The redacted rest."""
        return self._redactor.take(self._cutter.finish())
