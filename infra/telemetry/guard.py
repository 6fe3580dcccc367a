"""Keeps sentences out of spans and logs: only identifiers, numbers and short words pass.

The last line of defence; whoever writes a span or a log line gives it no text to begin with.
"""

from __future__ import annotations

WITHHELD = "(withheld)"
_LENGTH_MAX = 200
_SPACES_MAX = 2


def without_text(value: object) -> str | int | float | bool:
    """The value if it cannot be a sentence, else `(withheld)`.

    A string passes with at most 200 characters and three words; anything that is neither string
    nor number is named by its type.
    """
    if isinstance(value, str):
        too_long = len(value) > _LENGTH_MAX or value.count(" ") > _SPACES_MAX
        return WITHHELD if too_long or "\n" in value else value
    if isinstance(value, bool | int | float):
        return value
    return type(value).__name__
