"""Undoes cheap disguises before recognisers look: full-width forms, odd digits, hidden characters.

Keeps the way back: every normalised position knows the code point it came from.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Characters that show nothing: soft hyphen, zero-width spaces and joiners, word joiner, BOM,
# and the marks and overrides of writing direction.
INVISIBLE = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
DASHES = "\u2010-\u2013\u2212\ufe58\ufe63"

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_DASH = re.compile(f"[{DASHES}]")
_FULL_WIDTH_SHIFT = 0xFEE0


@dataclass(frozen=True, slots=True)
class Normalised:
    """`text` with disguises undone; character i came from code point `origins[i]`."""

    text: str
    origins: Sequence[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that `text[start:end]` came from; start < end."""
        return self.origins[start], self.origins[end - 1] + 1


def _plain(character: str) -> str:
    if character <= "\x7f":
        return character
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - _FULL_WIDTH_SHIFT)
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if _DASH.match(character):
        return "-"
    return " " if character.isspace() else character


def plain(text: str) -> str:
    """The text of `normalise`, for who needs no way back."""
    return text if text.isascii() else "".join(map(_plain, _INVISIBLE.sub("", text)))


def plain_end(text: str, characters: int) -> str:
    """The last characters of `plain(text)`, at the cost of these alone."""
    if text.isascii():
        return text[-characters:]
    return plain(_INVISIBLE.sub("", text)[-characters:])


def normalise(text: str) -> Normalised:
    """The text without disguises, and where each of its characters came from."""
    if text.isascii():
        return Normalised(text, range(len(text)))
    origins = [place for place, character in enumerate(text) if not _INVISIBLE.match(character)]
    return Normalised("".join(_plain(text[place]) for place in origins), origins)
