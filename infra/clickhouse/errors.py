"""ClickHouse's errors, said as what the caller must do about them.

    ClickHouseError              the statement or the schema is wrong: a defect, stop
    ├── ClickHouseUnavailable    the same statement can succeed later: pause and retry
    └── ClickHouseDataInvalid    a value does not fit its column: find the row, set it aside

A lost connection is a `ClickHouseUnavailable` as well.
"""

from __future__ import annotations

import re

from schemas.failures import Unavailable

_CODE = re.compile(r"Code: (\d+)\.")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)")
_DATA_CODES = frozenset(
    (6, 20, 25, 26, 27, 33, 38, 41, 49, 53, 69, 70, 72, 117, 131, 190, 321, 349, 376, 407, 467, 691)
)
"""A value could not be parsed, converted or held. The numbers are ClickHouse's own."""
_TRANSIENT_CODES = frozenset(
    (
        *(3, 22, 23, 24, 74, 75, 76, 95, 101, 159, 160, 164, 198, 200, 202, 203, 204, 209, 210),
        *(225, 236, 241, 242, 243, 252, 254, 279, 285, 286, 319, 394, 425, 439, 473, 499, 516),
        *(519, 529, 999),
    )
)
"""Memory, disk, parts, time-outs, the network, a replica or a password that someone has to fix."""


class ClickHouseError(Exception):
    """ClickHouse refused a statement. `code` is its number, 0 if it gave none."""

    def __init__(self, message: str, code: int = 0, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.name = name


class ClickHouseUnavailable(ClickHouseError, Unavailable):
    """ClickHouse, its disk or its memory is away; the same statement can succeed later."""


class ClickHouseDataInvalid(ClickHouseError):
    """A value of an insert does not fit its column."""


def error_from(text: str) -> ClickHouseError:
    """The error that a message of ClickHouse stands for.

    `text` holds `Code: n. DB::Exception: …. (NAME)`, perhaps after words of a client library.
    """
    found = _CODE.search(text)
    if found is None:
        return ClickHouseError(text.strip())
    message = text[found.start() :].strip()
    code = int(found.group(1))
    names = _NAME.findall(message)
    kind: type[ClickHouseError] = ClickHouseError
    if code in _TRANSIENT_CODES:
        kind = ClickHouseUnavailable
    elif code in _DATA_CODES:
        kind = ClickHouseDataInvalid
    return kind(message, code, names[-1] if names else "")
