"""What a recogniser is and what it finds. Which recognisers there are is left to `catalogue`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

# How much of the text left of a passage a recogniser may look at for words like "my SSN is".
CONTEXT_CHARACTERS_MAX = 48


class PiiKind(StrEnum):
    """The kinds of values, as they stand in placeholders and events. Names are never reused."""

    EMAIL = "EMAIL"
    URL = "URL"
    IBAN = "IBAN"
    CARD = "CARD"
    CRYPTO_WALLET = "CRYPTO_WALLET"
    IP_ADDRESS = "IP_ADDRESS"
    MAC_ADDRESS = "MAC_ADDRESS"
    US_SSN = "US_SSN"
    UK_NINO = "UK_NINO"
    BANK_ACCOUNT = "BANK_ACCOUNT"
    SECURITY_CODE = "SECURITY_CODE"
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    ID_DOCUMENT = "ID_DOCUMENT"
    SECRET = "SECRET"
    PHONE = "PHONE"


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of normalised text that no value crosses, and what stands before it."""

    text: str
    before: str = ""

    def left_of(self, position: int) -> str:
        """The text that ends at `position`, lower-cased, for finding context words."""
        if position >= CONTEXT_CHARACTERS_MAX:
            return self.text[position - CONTEXT_CHARACTERS_MAX : position].lower()
        left = self.before + self.text[:position]
        return left[-CONTEXT_CHARACTERS_MAX:].lower()


@dataclass(frozen=True, slots=True)
class Span:
    """A value at `start:end` of a passage. Confidence: 1 for a checksum, less for a pattern."""

    kind: PiiKind
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Recogniser:
    """One family of values. `find` must take time linear in the passage, whatever is in it.

    `needs` are characters of which a passage must hold at least one for `find` to be worth a call,
    and `length_min` is how many it must have: those of the family's shortest value.
    """

    name: str
    find: Callable[[Passage], Iterable[Span]]
    needs: str
    length_min: int
