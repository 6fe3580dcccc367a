"""Merging of streamed text, and the client's cursor over whatever comes out of it."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.token_merge import Stretch, TokenMerge
from parley.client.cursor import Cursor, Gap

WAIT_S = 0.04


def merge() -> TokenMerge:
    return TokenMerge("c", wait_s=WAIT_S, bytes_max=4096)


def texts(stretches: list[Stretch]) -> list[str]:
    return [orjson.loads(stretch.frame)["text"] for stretch in stretches]


def test_the_first_piece_goes_at_once_and_later_ones_wait_for_each_other() -> None:
    merging = merge()
    assert texts(merging.add("t", 1, 0, "Hello", 10.0)) == ["Hello"]
    assert merging.add("t", 1, 5, ", wor", 10.01) == []
    assert merging.add("t", 1, 10, "ld", 10.02) == []
    assert merging.due_at == 10.0 + WAIT_S
    assert texts(merging.flush(10.04)) == [", world"]
    assert merging.due_at is None


def test_a_piece_after_a_pause_goes_at_once() -> None:
    merging = merge()
    merging.add("t", 1, 0, "a", 10.0)
    assert texts(merging.add("t", 1, 1, "b", 10.05)) == ["b"]


def test_4_kib_go_before_their_time() -> None:
    merging = merge()
    merging.add("t", 1, 0, "a", 10.0)
    assert merging.add("t", 1, 1, "b" * 4095, 10.001) == []
    (stretch,) = merging.add("t", 1, 4096, "c", 10.002)
    assert (stretch.start, stretch.end) == (1, 4097)


def test_an_overlap_is_merged_once() -> None:
    merging = merge()
    merging.add("t", 1, 0, "ab", 10.0)
    merging.add("t", 1, 2, "cd", 10.01)
    merging.add("t", 1, 2, "cdef", 10.02)
    assert texts(merging.flush(10.1)) == ["cdef"]


def test_another_attempt_or_a_hole_sends_what_waited_first() -> None:
    merging = merge()
    merging.add("t", 1, 0, "a", 10.0)
    merging.add("t", 1, 1, "b", 10.01)
    assert texts(merging.add("t", 2, 0, "z", 10.02)) == ["b"]
    assert texts(merging.add("t", 2, 7, "y", 10.03)) == ["z"]
    assert texts(merging.flush(10.1)) == ["y"]


ANSWER = "Ein Saldo von 12 € 🧊, naïve 漢字 and more text that goes on for a while. " * 2
pieces = st.lists(
    st.tuples(st.integers(0, len(ANSWER)), st.integers(1, 30), st.floats(0, 0.1)), max_size=40
)


@given(pieces)
def test_however_pieces_overlap_the_client_ends_with_the_answer_and_each_code_point_once(
    steps: list[tuple[int, int, float]],
) -> None:
    merging, cursor, now, at = merge(), Cursor(epoch="e", seq=1, turn="t", attempt=1), 0.0, 0
    out: list[Stretch] = []
    for back, length, pause in steps:
        now += pause
        if merging.due_at is not None and merging.due_at <= now:
            out += merging.flush(now)
        start = max(0, at - back)
        end = min(len(ANSWER), start + length)
        out += merging.add("t", 1, start, ANSWER[start:end], now)
        at = max(at, end)
    out += merging.flush(now)
    for stretch in out:
        cursor.apply(orjson.loads(stretch.frame))
    assert cursor.text == ANSWER[:at]
    assert cursor.at == at


def event(seq: int, kind: str = "MessageReceived", **more: object) -> dict[str, object]:
    return {"t": "event", "c": "c", "seq": seq, "type": kind, "ts": "", "data": {}, **more}


@given(st.data())
def test_repeats_and_gaps_never_let_an_event_count_twice_or_be_skipped(data: st.DataObject) -> None:
    cursor, applied = Cursor(epoch="e", seq=0), []
    for _ in range(data.draw(st.integers(0, 60))):
        seq = data.draw(st.integers(1, (cursor.seq or 0) + 3))
        try:
            item = cursor.apply(event(seq))
        except Gap:
            assert seq > len(applied) + 1
            continue
        if item is not None:
            applied.append(seq)
    assert applied == list(range(1, len(applied) + 1))


def test_a_higher_attempt_starts_the_answer_over_and_a_lower_one_is_dropped() -> None:
    cursor = Cursor(epoch="e", seq=0)
    cursor.apply(event(1, "TurnStarted", turn="t", data={"attempt": 1}))
    stretch = {"t": "tokens", "c": "c", "turn": "t", "from": 0, "to": 3}
    cursor.apply({**stretch, "attempt": 1, "text": "old"})
    cursor.apply({**stretch, "attempt": 2, "text": "new"})
    assert cursor.apply({**stretch, "attempt": 1, "text": "old"}) is None
    assert (cursor.text, cursor.attempt) == ("new", 2)


def test_text_of_a_turn_that_is_over_comes_too_late() -> None:
    cursor = Cursor(epoch="e", seq=0)
    cursor.apply(event(1, "TurnStarted", turn="t", data={"attempt": 1}))
    cursor.apply(event(2, "TurnCompleted", turn="t"))
    late = {"t": "tokens", "c": "c", "turn": "t", "attempt": 1, "from": 0, "to": 1, "text": "x"}
    assert cursor.apply(late) is None
    assert cursor.turn is None


def test_a_position_that_is_resumed_says_where_the_open_answer_stands() -> None:
    cursor = Cursor(epoch="e", seq=0)
    cursor.apply(event(1, "TurnStarted", turn="t", data={"attempt": 1}))
    cursor.apply(
        {"t": "tokens", "c": "c", "turn": "t", "attempt": 1, "from": 0, "to": 2, "text": "🧊🧊"}
    )
    assert cursor.position() == {"seq": 1, "epoch": "e", "turn": "t", "attempt": 1, "at": 2}
