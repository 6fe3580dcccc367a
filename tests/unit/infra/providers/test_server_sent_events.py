"""Reading server-sent events from bytes that are cut anywhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.providers.server_sent_events import SIZE_CHARS_MAX, EventReader, EventTooLong


def read(*chunks: bytes) -> list[str]:
    reader = EventReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + reader.end()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_is_understood(end: bytes) -> None:
    assert read(b"data: a" + end + end + b"data: b" + end + end) == ["a", "b"]


def test_comments_and_other_fields_are_passed_over() -> None:
    assert read(b": keep-alive\n\nevent: x\nid: 7\nretry: 10\ndata: a\n\n: more\n\n") == ["a"]


def test_several_data_lines_are_one_event() -> None:
    assert read(b"data: a\ndata:b\ndata:\n\n") == ["a\nb\n"]


def test_a_byte_order_mark_at_the_start_is_no_text() -> None:
    assert read("\ufeffdata: a\n\n".encode()) == ["a"]


def test_an_event_that_lacks_its_blank_line_counts_at_the_end() -> None:
    assert read(b"data: a\n\ndata: b") == ["a", "b"]


def test_an_event_longer_than_the_limit_is_refused() -> None:
    reader = EventReader()
    with pytest.raises(EventTooLong):
        reader.feed(b"data: " + b"x" * (SIZE_CHARS_MAX + 1))


def test_many_long_lines_of_one_event_are_refused_too() -> None:
    line = b"data: " + b"x" * (SIZE_CHARS_MAX // 4) + b"\n"
    with pytest.raises(EventTooLong):
        read(*[line] * 6)


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1)),
    st.lists(st.integers(0, 400)),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_where_the_bytes_are_cut_makes_no_difference(
    texts: list[str], cuts: list[int], end: str
) -> None:
    stream = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert read(*chunks) == texts
