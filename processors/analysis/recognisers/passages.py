"""Cuts text, whole or as a stream, at places that no personal value can cross.

The cut looks only at what stands to its left and at the next word, so a stream is cut exactly as
the whole text is; that is what makes streamed redaction equal to redaction at the end.
"""

import re
from dataclasses import dataclass

from processors.analysis.recognisers.normalisation import DASHES, INVISIBLE, plain

# What values are made of: visible ASCII, letters of alphabets that addresses use, any decimal
# digit, and the disguises that `normalisation` undoes. Everything else ends a word: spaces,
# but also ideographs and emoji, so that text without spaces still flows.
_WORD = rf"!-~\u00c0-\u052f\u1e00-\u1fff\uff01-\uff5e{DASHES}{INVISIBLE}\d"
_TOKEN = re.compile(f"([{_WORD}]+)|([^{_WORD}]+)")

# A number may go on after this much space.
_JOINING_GAP = re.compile(r"[^\S\n]{1,3}\Z")

_OPEN_NUMBER = re.compile(r"\d[\d().,+/x#-]*\Z|(?:^|[^\w])[(+]{1,2}\Z", re.IGNORECASE)
_NUMBER_GOES_ON = re.compile(
    r"[(+#-]*\d|[(+-]\Z|(?:x|ext|extn|extension)[.:]?\d*\W*\Z|[a-d]\W*\Z"
    r"|(?:office|fax|mobile|cell|home|work)\b",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"(?:x|ext|extn|extension)[.:]?\Z", re.IGNORECASE)
_IBAN_HEAD = re.compile(r"(?:^|[^A-Za-z0-9])[A-Za-z]{2}\d{2}\Z")
_BANK_CODE = re.compile(r"[A-Za-z]{4}\Z")
_IBAN_GROUP = re.compile(r"(?=[A-Za-z]{0,3}\d)[A-Za-z0-9]{1,4}(?![A-Za-z0-9])")
_FULL_GROUP = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{4}\Z")
# "QQ 12 34 56 C": a National Insurance number as it is printed.
_CAPITAL_PAIR = re.compile(r"(?:^|[^A-Za-z0-9])[A-Z]{2}\Z")

# A passage without any of these holds nothing to find.
_WORTH_A_LOOK = re.compile(r"[\d@]|\w[.\[(]\w|://")

# The shortcut for what answers mostly consist of: words that are cut off at once and hold nothing
# to find, so made of letters and of punctuation that no value has, and no pair of capitals at the
# end; each with the space after it. It says no more than the rules below would say word by word.
_LETTERS = r"A-Za-z\u00c0-\u052f"
_PLAIN = rf"[{_LETTERS}!\"',;:?)\]-]"
_PLAIN_STOP = r"\.(?!\w)"
# Every stop begins a new turn of the loop, so that there is one way to read a word, and nothing to
# try again where it goes on otherwise. (Possessive groups would say so, but Python before 3.11.5
# takes back what they have matched.)
_PLAIN_WORD = (
    rf"[(\[]?(?:{_PLAIN}|{_PLAIN_STOP}){_PLAIN}*(?:{_PLAIN_STOP}{_PLAIN}*)*"
    r"(?:(?<![A-Z][A-Z])|(?<=[A-Za-z][A-Z][A-Z]))"
)
_PLAIN_WORDS = re.compile(rf"[^{_WORD}]*(?:{_PLAIN_WORD}[^{_WORD}]+)*")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of the original text. `examine`: it may hold values; else it is safe as it is."""

    text: str
    examine: bool


# How much of a word's end decides whether a value may go on: longer than any group of digits.
_TAIL_CHARACTERS = 40


def _goes_on(tail: str, *, is_first: bool, following: str) -> bool:
    """Whether a value that ends in `tail`, the last word so far, may go on in the next word."""
    if _OPEN_NUMBER.search(tail) and _NUMBER_GOES_ON.match(following):
        return True
    if not is_first and _EXTENSION.match(tail) and following[0].isdigit():
        return True
    if _IBAN_HEAD.search(tail):
        return bool(_BANK_CODE.match(following) or _IBAN_GROUP.match(following))
    if _CAPITAL_PAIR.search(tail) and following[0].isdigit():
        return True
    return not is_first and bool(_FULL_GROUP.search(tail) and _IBAN_GROUP.match(following))


def _may_go_on(tail: str, *, is_first: bool) -> bool:
    """Whether the next word matters at all; ordinary words are let go at once."""
    if _OPEN_NUMBER.search(tail) or _IBAN_HEAD.search(tail) or _CAPITAL_PAIR.search(tail):
        return True
    return not is_first and bool(_EXTENSION.match(tail) or _FULL_GROUP.search(tail))


class PassageCutter:
    """Takes text in pieces and gives all of it back, in order, as stretches."""

    def __init__(self) -> None:
        self._held = ""  # the original text, at least from the beginning of the open stretch
        self._begin = 0  # where that is
        self._read = 0  # how far it has been cut into words and gaps
        self._words = 0  # how many words the open stretch has
        self._tail = ""  # the end of the last one, normalised
        self._end = 0  # where the last one ends
        self._examine = False

    def feed(self, piece: str) -> list[Stretch]:
        """The stretches that nothing to come can change."""
        self._held += piece
        stretches = self._cut(final=False)
        self._forget()
        return stretches

    def finish(self) -> list[Stretch]:
        """All that was held back."""
        stretches = self._cut(final=True)
        if self._begin < len(self._held):
            stretches.append(self._take_stretch(len(self._held)))
        return stretches

    def _cut(self, *, final: bool) -> list[Stretch]:
        stretches: list[Stretch] = []
        self._take_plain_words(stretches)
        while token := _TOKEN.match(self._held, self._read):
            if token[1] is not None:
                if token.end() == len(self._held) and not final:
                    break  # the word may grow
                self._take_word(token[1], stretches)
            elif not self._take_gap(token[2], stretches):
                break  # the gap may grow
            self._take_plain_words(stretches)
        return stretches

    def _take_plain_words(self, stretches: list[Stretch]) -> None:
        """Takes all words at once that would each be a stretch with nothing to find."""
        if self._words:
            return  # the next word may belong to a value that has begun
        plain_words = _PLAIN_WORDS.match(self._held, self._begin)
        if plain_words is not None and plain_words.end() > self._begin:
            self._read = plain_words.end()
            stretches.append(self._take_stretch(self._read))

    def _take_word(self, word: str, stretches: list[Stretch]) -> None:
        normal = plain(word)
        if self._words and normal and not self._continues(normal):
            stretches.append(self._take_stretch(self._end))
        self._read += len(word)
        self._end = self._read
        if normal:
            self._words += 1
            self._tail = normal[-_TAIL_CHARACTERS:]
            self._examine = self._examine or _WORTH_A_LOOK.search(normal) is not None
        if not self._words or not _may_go_on(self._tail, is_first=self._words == 1):
            stretches.append(self._take_stretch(self._end))

    def _continues(self, following: str) -> bool:
        return _goes_on(self._tail, is_first=self._words == 1, following=following)

    def _take_gap(self, gap: str, stretches: list[Stretch]) -> bool:
        """False where it takes more text to decide."""
        if self._words and not _JOINING_GAP.match(gap):
            stretches.append(self._take_stretch(self._end))
        if self._words:
            if self._read + len(gap) == len(self._held):
                return False
            self._read += len(gap)
            return True
        self._read += len(gap)
        stretches.append(self._take_stretch(self._read))
        return True

    def _take_stretch(self, end: int) -> Stretch:
        stretch = Stretch(self._held[self._begin : end], self._examine)
        self._begin = end
        self._words, self._tail, self._examine = 0, "", False
        return stretch

    def _forget(self) -> None:
        """Lets go of the text that was given back."""
        begin = self._begin
        self._held = self._held[begin:]
        self._begin, self._read, self._end = 0, self._read - begin, self._end - begin
