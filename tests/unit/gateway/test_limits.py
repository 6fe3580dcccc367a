"""The rate of commands in this process, and sockets of one person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import Gcra, SocketLimit
from gateway.refusals import Ended

WHO = ("demo", "p")


def test_a_burst_passes_and_the_next_command_is_told_how_long_to_wait() -> None:
    limit = Gcra(20, 40)
    assert [limit.wait_us(WHO, 0) for _ in range(40)] == [0] * 40
    assert limit.wait_us(WHO, 0) == 50_000
    assert limit.wait_us(WHO, 49_999) == 1
    assert limit.wait_us(WHO, 50_000) == 0


def test_people_do_not_share_a_limit() -> None:
    limit = Gcra(1, 1)
    assert limit.wait_us(WHO, 0) == 0
    assert limit.wait_us(("demo", "q"), 0) == 0
    assert limit.wait_us(("other", "p"), 0) == 0
    assert limit.wait_us(WHO, 0) > 0


def test_who_was_forgotten_for_others_begins_anew_and_memory_stays_bounded() -> None:
    limit = Gcra(1, 1, keys_max=10)
    for number in range(1000):
        limit.wait_us(("demo", str(number)), 0)
    assert len(limit._arrivals) == 10


@given(
    st.floats(0.5, 200),
    st.integers(1, 50),
    st.lists(st.integers(0, 500_000), min_size=1, max_size=200),
)
def test_no_window_lets_more_through_than_burst_and_rate_allow(
    rate: float, burst: int, pauses: list[int]
) -> None:
    limit, now, passed = Gcra(rate, burst), 0, []
    for pause in pauses:
        now += pause
        if limit.wait_us(WHO, now) == 0:
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            window_us = passed[last] - passed[first]
            assert last - first + 1 <= burst + window_us / limit.interval_us + 1e-6


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=100))
def test_waiting_as_told_is_always_enough(pauses: list[int]) -> None:
    limit, now = Gcra(20, 3), 0
    for pause in pauses:
        now += pause
        wait = limit.wait_us(WHO, now)
        if wait:
            now += wait
            assert limit.wait_us(WHO, now) == 0


def test_a_socket_that_closes_makes_room() -> None:
    limit = SocketLimit(1)
    with limit.hold(WHO):
        with pytest.raises(Ended) as ended, limit.hold(WHO):
            pass
        assert ended.value.close.code == 4504
    with limit.hold(WHO):
        pass
    assert not limit._open
