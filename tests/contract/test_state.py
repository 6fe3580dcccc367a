"""One promise, two stores: folded states by key, brought forward by changelog and commits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import RecordCodec
from streams import rocksdb_state
from streams.rocksdb_state import RocksState, StateInUse
from streams.state import Change, MemoryState, PartitionState, StateFormat


@dataclass(frozen=True, slots=True)
class Count:
    """A small state, with a deadline while it is odd."""

    n: int


CODEC = RecordCodec(Count)
FORMAT = StateFormat(CODEC.encode, CODEC.decode, lambda s: 1000 + s.n if s.n % 2 else None)
LOG_ID = "log-1"


def change(key: bytes, n: int) -> Change:
    return Change(key, Count(n), CODEC.encode(Count(n)))


def record(key: bytes, n: int | None) -> tuple[bytes, bytes | None]:
    return key, None if n is None else CODEC.encode(Count(n))


@pytest.fixture(params=["memory", "rocksdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartitionState[Count]]:
    opened: PartitionState[Count] = (
        MemoryState(FORMAT)
        if request.param == "memory"
        else RocksState(tmp_path / "conversation" / "p0", FORMAT, LOG_ID)
    )
    yield opened
    opened.close()


def known(state: PartitionState[Count], *keys: bytes) -> dict[bytes, int]:
    return {key: found.n for key in keys if (found := state.get(key)) is not None}


def test_a_new_store_knows_nothing(state: PartitionState[Count]) -> None:
    assert state.changelog_offset == 0
    assert state.get(b"a") is None
    assert dict(state.deadlines()) == {}


def test_a_stretch_of_the_changelog_is_taken_over_the_last_record_of_a_key_counting(
    state: PartitionState[Count],
) -> None:
    state.restore([record(b"a", 1), record(b"b", 2), record(b"a", 3)], 3)
    assert known(state, b"a", b"b", b"c") == {b"a": 3, b"b": 2}


def test_stretches_follow_each_other(state: PartitionState[Count]) -> None:
    state.restore([record(b"a", 1), record(b"b", 2)], 2)
    state.restore([record(b"a", 4)], 3)
    state.restore([], 7)
    assert known(state, b"a", b"b") == {b"a": 4, b"b": 2}


def test_a_tombstone_takes_a_key_away_with_its_deadline(state: PartitionState[Count]) -> None:
    state.restore([record(b"a", 1), record(b"b", 3), record(b"c", None)], 3)
    assert state.get(b"a") == Count(1)
    state.restore([record(b"a", None), record(b"b", None), record(b"b", 5)], 6)
    assert known(state, b"a", b"b", b"c") == {b"b": 5}
    assert dict(state.deadlines()) == {b"b": 1005}


def test_what_a_transaction_changed_is_taken_over(state: PartitionState[Count]) -> None:
    state.restore([record(b"a", 1)], 1)
    state.apply([change(b"a", 2), change(b"b", 7)], 5)
    assert known(state, b"a", b"b") == {b"a": 2, b"b": 7}


def test_a_transaction_without_snapshots_changes_nothing(state: PartitionState[Count]) -> None:
    state.apply([change(b"a", 1)], 4)
    before = state.changelog_offset
    state.apply([], None)
    assert known(state, b"a") == {b"a": 1}
    assert state.changelog_offset == before


def test_deadlines_are_those_of_the_present_states(state: PartitionState[Count]) -> None:
    state.restore([record(b"a", 1), record(b"b", 2), record(b"c", 3)], 3)
    assert dict(state.deadlines()) == {b"a": 1001, b"c": 1003}
    state.apply([change(b"a", 2), change(b"b", 5), change(b"c", 7)], 6)
    assert dict(state.deadlines()) == {b"b": 1005, b"c": 1007}


@pytest.mark.parametrize("key", [b"", b"s", b"d", b"offset", b"log", b"demo:c-1", b"\x00\xff"])
def test_no_key_is_mistaken_for_another(state: PartitionState[Count], key: bytes) -> None:
    state.restore([record(b"other", 1)], 1)
    assert state.get(key) is None
    state.apply([change(key, 3)], 2)
    assert known(state, key, b"other") == {key: 3, b"other": 1}
    assert dict(state.deadlines()) == {key: 1003, b"other": 1001}


def test_keys_that_begin_alike_are_told_apart(state: PartitionState[Count]) -> None:
    state.apply([change(b"demo:c", 1), change(b"demo:c-1", 3), change(b"demo:c-10", 5)], 3)
    state.restore([record(b"demo:c-1", None)], 4)
    assert known(state, b"demo:c", b"demo:c-1", b"demo:c-10") == {b"demo:c": 1, b"demo:c-10": 5}


keys = st.sampled_from([b"a", b"b", b"d", b"s", b"demo:c-1"])
steps = st.lists(
    st.tuples(
        st.sampled_from(["restore", "apply", "get"]),
        st.lists(st.tuples(keys, st.none() | st.integers(0, 5)), max_size=4),
    ),
    max_size=12,
)


@pytest.mark.parametrize("cached", [0, 1, 20_000])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
def test_both_stores_agree_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    cached: int,
    steps: list[tuple[str, Any]],
) -> None:
    monkeypatch.setattr(rocksdb_state, "CACHED_STATES", cached)
    memory = MemoryState(FORMAT)
    rocks = RocksState(tmp_path_factory.mktemp("rocks") / "p0", FORMAT, LOG_ID)
    for offset, (step, records) in enumerate(steps, 1):
        for state in (memory, rocks):
            if step == "restore":
                state.restore([record(key, n) for key, n in records], offset)
            elif step == "apply":
                state.apply([change(key, n) for key, n in records if n is not None], offset)
        for key, _ in records:
            assert memory.get(key) == rocks.get(key)
    assert dict(memory.deadlines()) == dict(rocks.deadlines())
    rocks.close()


# What only the store on disk promises


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "conversation" / "p0"


def opened(folder: Path, log_id: str = LOG_ID) -> RocksState[Count]:
    return RocksState(folder, FORMAT, log_id)


def test_reopened_it_says_from_where_the_changelog_is_needed(folder: Path) -> None:
    state = opened(folder)
    state.restore([record(b"a", 1), record(b"b", 2)], 10)
    state.apply([change(b"a", 3)], 12)
    state.close()
    again = opened(folder)
    assert again.changelog_offset == 12
    assert known(again, b"a", b"b") == {b"a": 3, b"b": 2}
    assert dict(again.deadlines()) == {b"a": 1003}
    again.restore([record(b"b", None), record(b"c", 5)], 14)
    assert known(again, b"a", b"b", b"c") == {b"a": 3, b"c": 5}
    again.close()


def test_a_commit_that_was_not_written_comes_again_from_the_changelog(folder: Path) -> None:
    """A crash between the commit and the write leaves an older state and its offset."""
    state = opened(folder)
    state.apply([change(b"a", 1)], 1)
    state.close()
    again = opened(folder)
    again.restore([record(b"a", 2)], 2)
    assert (again.get(b"a"), again.changelog_offset) == (Count(2), 2)
    again.close()


def test_a_stretch_without_records_moves_the_offset_too(folder: Path) -> None:
    """Markers of transactions take offsets, and need not be read again."""
    state = opened(folder)
    state.restore([], 9)
    state.close()
    again = opened(folder)
    assert again.changelog_offset == 9
    again.close()


def test_the_states_of_another_changelog_are_thrown_away(folder: Path) -> None:
    state = opened(folder)
    state.apply([change(b"a", 1)], 7)
    state.close()
    other = opened(folder, "log-2")
    assert (other.changelog_offset, other.get(b"a")) == (0, None)
    assert dict(other.deadlines()) == {}
    other.apply([change(b"b", 1)], 3)
    other.close()
    back = opened(folder, LOG_ID)
    assert (back.changelog_offset, back.get(b"a"), back.get(b"b")) == (0, None, None)
    back.close()


def test_what_it_keeps_outlives_a_kill(folder: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_state import change, opened\n"
        "state = opened(Path(sys.argv[1]))\n"
        "state.apply([change(b'a', 1)], 3)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here.parents[1])}
    ended = subprocess.run([sys.executable, "-c", script, folder, here], env=environment)
    assert ended.returncode == -9
    state = opened(folder)
    assert (state.get(b"a"), state.changelog_offset) == (Count(1), 3)
    state.close()


def test_a_folder_is_opened_by_one_process_at_a_time(folder: Path) -> None:
    state = opened(folder)
    with pytest.raises(StateInUse, match="is open elsewhere"):
        opened(folder)
    state.close()
    opened(folder).close()


def test_the_cache_is_bounded_and_never_tells_old_news(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rocksdb_state, "CACHED_STATES", 2)
    state = opened(folder)
    state.apply([change(b"%d" % n, n) for n in range(10)], 10)
    assert len(state._cache) == 2
    assert known(state, *[b"%d" % n for n in range(10)]) == {b"%d" % n: n for n in range(10)}
    state.restore([record(b"9", 90)], 11)
    assert state.get(b"9") == Count(90)
    state.close()
