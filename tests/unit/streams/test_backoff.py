"""Waits between tries grow to a bound, with jitter, and begin anew after a success."""

from __future__ import annotations

from streams.backoff import Backoff

BOUNDS_S = (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0)


def test_waits_double_up_to_the_bound() -> None:
    backoff = Backoff(0.1, 1.0)
    for bound_s in BOUNDS_S:
        assert bound_s / 2 <= backoff.next_s() <= bound_s


def test_waits_of_many_processes_spread() -> None:
    waits = {Backoff(1.0).next_s() for _ in range(50)}
    assert len(waits) == 50
    assert max(waits) - min(waits) > 0.2


def test_after_a_success_they_begin_anew() -> None:
    backoff = Backoff(0.1, 1.0)
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1
