"""Recognises messages that need an earlier one, such as "and how long does that take?".

Only the wording is judged here. Whether the context is used in the end is decided after both
searches, so that a question that stands alone never suffers from what was said before it.
"""

from __future__ import annotations

import re
from enum import Enum

from processors.answering.context import TurnContext
from processors.answering.words import terms, words

_OPENING = re.compile(
    r"^(?:(?:ok(?:ay)?|thanks|thank you|great|alright|right|yes|no|sure)[\s,.!]+)*"
    r"(?:and|but|or|so|also|then|what about|how about|what if|in that case|same|what else)\b",
    re.IGNORECASE,
)
_POINTING = frozenset(
    [
        "it",
        "its",
        "that",
        "this",
        "they",
        "them",
        "their",
        "these",
        "those",
        "one",
        "ones",
        "there",
        "instead",
    ]
)
# "it is", as in "what time is it", "how long does it take": counted as pointing all the same.
_TERMS_MAX_POINTING = 2
_TERMS_MAX_OPENING = 3
_TERMS_MAX_SHORT = 2
_WORDS_MAX_SHORT = 4


class Dependence(Enum):
    """How much a message seems to lean on what was said before it."""

    NONE = "none"
    SHORT = "short"
    LEANING = "leaning"


def dependence(message: str) -> Dependence:
    """Judges the wording of a message."""
    spoken, topical = words(message), set(terms(message))
    opens = _OPENING.match(message.strip()) is not None
    points = not _POINTING.isdisjoint(spoken)
    if opens and len(topical) <= _TERMS_MAX_OPENING:
        return Dependence.LEANING
    if points and len(topical) <= _TERMS_MAX_POINTING:
        return Dependence.LEANING
    if len(spoken) <= _WORDS_MAX_SHORT and len(topical) <= _TERMS_MAX_SHORT:
        return Dependence.SHORT
    return Dependence.NONE


def anchor(context: TurnContext) -> str | None:
    """The latest earlier question that stands alone, or the oldest in view; none without any."""
    questions = [turn.question for turn in context.earlier if terms(turn.question)]
    for question in reversed(questions):
        if dependence(question) is not Dependence.LEANING:
            return question
    return questions[0] if questions else None
