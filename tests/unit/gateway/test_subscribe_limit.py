"""How often one socket may subscribe."""

from __future__ import annotations

import pytest

from gateway.limits import SubscribeLimit
from gateway.refusals import ErrorCode, Refused


def ask(limit: SubscribeLimit, times: int) -> None:
    for _ in range(times):
        limit.check()


def test_everything_may_begin_twice_at_once_and_then_there_is_a_time_to_wait() -> None:
    limit = SubscribeLimit(32)
    ask(limit, 64)
    with pytest.raises(Refused) as refused:
        ask(limit, 64)
    assert (refused.value.code, refused.value.temporary) == (ErrorCode.RATE_LIMITED, True)
    assert 0 < refused.value.retry_after_ms <= 50


def test_sockets_do_not_share_a_limit() -> None:
    for _ in range(3):
        ask(SubscribeLimit(32), 64)
