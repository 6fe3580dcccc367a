"""What went wrong, said as what the runtime must do about it.

    Failure
    ├── Invalid       this record can never be handled: dead letter, go on
    └── Unavailable   a dependency is away: pause, retry with back-off, never skip

Anything else that a stage raises is a defect and stops the process.
"""

from __future__ import annotations


class Failure(Exception):
    """The root of the failures that the runtime knows how to treat."""


class Invalid(Failure):
    """The record itself is wrong, today and at every retry.

    `code` is a short stable word for metrics and dead letters. The message never carries text
    of a conversation, since it is logged and kept.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(Failure):
    """Something outside is away; the same record can succeed later."""
