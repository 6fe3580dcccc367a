"""Deadlines of keys: the earliest first, replaced when set anew, due until set again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.deadlines import Deadlines


def test_without_keys_nothing_is_due() -> None:
    deadlines = Deadlines()
    assert deadlines.earliest_us() is None
    assert deadlines.due(2**62) == []


def test_what_is_known_at_the_start_is_due_in_its_time() -> None:
    deadlines = Deadlines([(b"a", 30), (b"b", 10), (b"c", 20)])
    assert deadlines.earliest_us() == 10
    assert deadlines.due(9) == []
    assert deadlines.due(20) == [b"b", b"c"]


def test_a_key_stays_due_until_it_is_set_anew() -> None:
    deadlines = Deadlines([(b"a", 10)])
    assert deadlines.due(10) == deadlines.due(11) == [b"a"]
    deadlines.set(b"a", 50)
    assert deadlines.due(49) == []
    assert deadlines.due(50) == [b"a"]


def test_a_new_deadline_replaces_the_old_one_in_either_direction() -> None:
    deadlines = Deadlines([(b"a", 10)])
    deadlines.set(b"a", 5)
    assert deadlines.earliest_us() == 5
    deadlines.set(b"a", 99)
    assert (deadlines.earliest_us(), deadlines.due(98), len(deadlines)) == (99, [], 1)


def test_a_key_without_a_deadline_is_forgotten() -> None:
    deadlines = Deadlines([(b"a", 10)])
    deadlines.set(b"a", None)
    deadlines.set(b"never heard of", None)
    assert (deadlines.earliest_us(), deadlines.due(2**62), len(deadlines)) == (None, [], 0)


def test_a_deadline_set_back_to_what_it_was_is_due_once() -> None:
    deadlines = Deadlines([(b"a", 10)])
    deadlines.set(b"a", 20)
    deadlines.set(b"a", 10)
    assert deadlines.due(10) == [b"a"]
    assert deadlines.due(10) == [b"a"]


def test_deadlines_that_were_replaced_take_no_memory_for_long() -> None:
    """A conversation moves its deadline with every turn, and old ones lie a minute ahead."""
    deadlines = Deadlines()
    for moved in range(100_000):
        deadlines.set(b"%d" % (moved % 10), 10**15 + moved)
    assert len(deadlines._heap) < 1000
    assert deadlines.earliest_us() == 10**15 + 99_990


keys = st.sampled_from([b"a", b"b", b"c"])
times = st.integers(0, 8)


@settings(deadline=None)
@given(
    st.lists(st.tuples(keys, times), max_size=4),
    st.lists(st.tuples(keys, st.none() | times) | times, max_size=30),
)
def test_it_is_a_map_from_keys_to_times(
    known: list[tuple[bytes, int]], steps: list[tuple[bytes, int | None] | int]
) -> None:
    deadlines, model = Deadlines(known), dict(known)
    for step in steps:
        if isinstance(step, int):
            due = deadlines.due(step)
            assert sorted(due) == sorted(k for k, at in model.items() if at <= step)
            assert [model[k] for k in due] == sorted(model[k] for k in due)
        else:
            key, at = step
            deadlines.set(key, at)
            model.pop(key, None)
            if at is not None:
                model[key] = at
        assert deadlines.earliest_us() == min(model.values(), default=None)
        assert len(deadlines) == len(model)
