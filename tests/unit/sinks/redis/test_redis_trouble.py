"""What an operator is told of Redis' errors."""

from __future__ import annotations

import pytest
from redis import exceptions

from sinks.redis.connection import trouble_of


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:6379."),
            "Redis does not answer (ConnectionError): check redis.url",
        ),
        (
            exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left"),
            "Redis refuses commands (MISCONF): its disk is full or broken",
        ),
        (
            exceptions.ResponseError("ERR unknown command 'X', with args beginning with: 'secret'"),
            "Redis refuses commands (ERR): its log says why",
        ),
    ],
    ids=("away", "disk", "other"),
)
def test_it_says_what_to_look_at_and_repeats_nothing_that_was_sent(
    error: Exception, told: str
) -> None:
    assert trouble_of(error) == told
