"""What may be committed while records finish in another order than they came."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.offsets import InFlight


def test_at_the_start_everything_before_the_first_record_is_done() -> None:
    assert InFlight(7).committable == 7
    assert len(InFlight(7)) == 0


def test_the_oldest_open_record_holds_the_offset_back() -> None:
    flight = InFlight()
    for offset in (3, 4, 8):
        flight.begin(offset)
    flight.finish(4)
    assert (flight.committable, len(flight)) == (3, 2)
    flight.finish(3)
    assert flight.committable == 8
    flight.finish(8)
    assert (flight.committable, len(flight)) == (9, 0)


def test_records_without_work_move_the_offset_only_where_nothing_is_open() -> None:
    flight = InFlight()
    flight.passed(5)
    assert flight.committable == 6
    flight.begin(6)
    flight.passed(7)
    assert flight.committable == 6
    flight.finish(6)
    assert flight.committable == 8


def test_finishing_twice_or_something_unknown_changes_nothing() -> None:
    flight = InFlight()
    flight.begin(1)
    flight.finish(99)
    assert flight.committable == 1
    flight.finish(1)
    flight.finish(1)
    assert flight.committable == 2


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=20), st.randoms(use_true_random=False))
def test_an_offset_never_passes_an_open_record_and_ends_after_the_last(
    works: list[bool], random: object
) -> None:
    flight, still_open = InFlight(), []
    for offset, work in enumerate(works):
        if work:
            flight.begin(offset)
            still_open.append(offset)
        else:
            flight.passed(offset)
    random.shuffle(order := list(still_open))  # type: ignore[attr-defined]
    committed = flight.committable
    for offset in order:
        flight.finish(offset)
        still_open.remove(offset)
        assert flight.committable == min(still_open, default=len(works))
        assert flight.committable >= committed
        committed = flight.committable
    assert flight.committable == len(works)
