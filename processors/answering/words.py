"""Turns text into search terms and sentences. English only; which terms matter is left to BM25."""

from __future__ import annotations

import re
from functools import lru_cache

# Words that carry no topic. Negations and question words such as "how long" lose their meaning
# in a bag of words anyway, and dense retrieval still sees the whole sentence.
_STOP_WORDS = """
a about am an and any are as at be been being but by can could did do does doing for from
had has have having he hello hey hi her here hers him his how i if in into is it its just
kindly let me more most my no nor not of off on once only or our ours out over please s
same shall she should so some such t tell than thank thanks that the their theirs them
then there these they this those through to too us very want was we were what when where
which while who whom whose why will with would you your yours
don doesn didn isn aren wasn weren won wouldn couldn shouldn hasn haven hadn cannot
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_TERM = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_PLACEHOLDER = re.compile(r"[\[<{(][A-Z][A-Z_]*(?:[_ -]\d+)?[\]>})]")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]*]*\s+(?=[\"'“‘(\[*]*[A-Z0-9£€$])")
_SUFFIXES = ("ations", "ation", "ingly", "ments", "ment", "ings", "ing", "edly", "ied", "ies")
_STEM_LENGTH_MIN = 3


def without_placeholders(text: str) -> str:
    """The text without `[EMAIL_1]` and its kin, which would match nothing but each other."""
    return " ".join(_PLACEHOLDER.sub(" ", text).split())


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """Cuts the common endings of English, so that "charged", "charges" and "charge" meet.

    Deliberately lighter than Porter's: a wrong merge costs more than a missed one, because the
    dense half of the search finds what is missed.
    """
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _STEM_LENGTH_MIN:
            word = word[: -len(suffix)] + ("y" if suffix in ("ied", "ies") else "")
            break
    else:
        past = word.endswith("ed")
        plural = word.endswith("es") and word[-3:-2] in ("s", "x", "z", "h")
        if len(word) > 4 and (past or plural):
            word = word[:-2]
        elif word.endswith("s") and len(word) > 3 and word[-2] not in "su":
            word = word[:-1]
    if len(word) > _STEM_LENGTH_MIN and word[-1] == word[-2] and word[-1] in "bdfgmnprt":
        word = word[:-1]
    if len(word) > _STEM_LENGTH_MIN and word.endswith("e"):
        word = word[:-1]
    return word


def terms(text: str) -> list[str]:
    """The stemmed search terms of a text, in order, with repetitions."""
    found = []
    plain = text.lower().replace("’", "'").replace("top-up", "topup").replace("top up", "topup")
    for match in _TERM.findall(plain):
        # "don't", "card's" and "I'm" count as what stands before the apostrophe.
        word = match.partition("'")[0]
        if word not in STOP_WORDS:
            found.append(stem(word))
    return found


def words(text: str) -> list[str]:
    """All words in lower case, stop words included."""
    return [match.group().replace("’", "'") for match in _TERM.finditer(text.lower())]


def sentences(paragraph: str) -> list[str]:
    """The sentences of one paragraph; a list item is a sentence of its own."""
    found: list[str] = []
    for line in paragraph.splitlines():
        found.extend(part.strip() for part in _SENTENCE_END.split(line.strip()) if part.strip())
    return found
