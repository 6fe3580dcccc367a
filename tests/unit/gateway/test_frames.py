"""Parsing of client frames: what passes, what is refused, and that refusals never quote input."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frames import FRAMES, FrameRefused, Hello, Send, Subscribe, parse
from gateway.refusals import Ended, ErrorCode


def encoded(**fields: object) -> bytes:
    return orjson.dumps(fields)


def test_a_send_carries_its_ids_and_text() -> None:
    frame = parse(encoded(t="send", id=3, c="c-1", mid="m-1", body={"text": "Hi 🧊"}))
    assert isinstance(frame, Send)
    assert (frame.id, frame.c, frame.mid, frame.body.text) == (3, "c-1", "m-1", "Hi 🧊")


def test_a_sub_without_a_cursor_and_one_with_it() -> None:
    assert parse(encoded(t="sub", id="a", c="c")) == Subscribe(id="a", c="c")
    whole = parse(encoded(t="sub", id=1, c="c", epoch="e", seq=0, turn="t", attempt=1, at=5))
    assert isinstance(whole, Subscribe)
    assert (whole.seq, whole.at) == (0, 5)


def test_hello_takes_its_subscriptions_along() -> None:
    frame = parse(encoded(t="hello", v=1, subs=[{"c": "a", "seq": 4}, {"c": "b"}]))
    assert isinstance(frame, Hello)
    assert [(sub.c, sub.seq) for sub in frame.subs] == [("a", 4), ("b", None)]


def test_fields_of_a_newer_client_are_ignored_but_never_inside_a_body() -> None:
    parse(encoded(t="sub", id=1, c="c", shiny=True))
    with pytest.raises(FrameRefused, match=r"send\.body\.shiny"):
        parse(encoded(t="send", id=1, c="c", mid="m", body={"text": "x", "shiny": 1}))


@pytest.mark.parametrize("name", ["4111111111111111", "x" * 33, "k" * 50_000, "Max", "", "a b"])
def test_an_unknown_field_of_a_body_is_not_named_unless_it_looks_like_a_name(name: str) -> None:
    with pytest.raises(FrameRefused) as refused:
        parse(encoded(t="send", id=1, c="c", mid="m", body={"text": "x", name: 1}))
    assert refused.value.message.startswith("send.body.…: ")
    assert not name or name not in refused.value.message


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"t":5}', b"{}", b"\xff", b"NaN"])
def test_what_is_no_frame_ends_the_socket_with_4501(raw: bytes) -> None:
    with pytest.raises(Ended) as ended:
        parse(raw)
    assert ended.value.close.code == 4501


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"t": "send", "id": 1, "c": "c", "mid": "m", "body": {"text": ""}}, "the text is empty"),
        ({"t": "send", "id": 1, "c": "c", "mid": "m", "body": {"text": 5}}, "send.body.text"),
        ({"t": "send", "id": 1, "c": "c", "mid": "m"}, "send.body"),
        ({"t": "send", "id": 1, "c": "", "mid": "m", "body": {"text": "x"}}, "send.c"),
        ({"t": "send", "id": 1, "c": "c", "mid": "m m", "body": {"text": "x"}}, "send.mid"),
        ({"t": "send", "id": 1.5, "c": "c", "mid": "m", "body": {"text": "x"}}, "send.id: "),
        ({"t": "send", "id": "", "c": "c", "mid": "m", "body": {"text": "x"}}, "send.id: "),
        ({"t": "sub", "id": 2**53 + 1, "c": "c"}, "sub.id: "),
        ({"t": "sub", "id": 1, "c": "c", "seq": 2**53 + 1}, "sub.seq: "),
        ({"t": "sub", "id": 1, "c": "c", "seq": 3.0}, "sub.seq: "),
        ({"t": "sub", "id": 1, "c": "c\n"}, "sub.c: "),
        ({"t": "sub", "id": 1, "c": "٣"}, "sub.c: "),
        ({"t": "hello", "v": 1, "subs": [{"c": "c", "turn": "t:1"}]}, "hello.subs.0.turn: "),
        ({"t": "feedback", "id": 1, "c": "c", "mid": "m", "turn": "t", "score": 0}, "score"),
        ({"t": "feedback", "id": 1, "c": "c", "mid": "m", "turn": "t", "score": True}, "score"),
        ({"t": "sub", "id": 1, "c": "c", "seq": "3"}, "sub.seq"),
        ({"t": "sub", "id": 1, "c": "c", "at": True}, "sub.at"),
        ({"t": "hello"}, "hello.v"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], says: str) -> None:
    with pytest.raises(FrameRefused) as refused:
        parse(encoded(**fields))
    assert refused.value.code is ErrorCode.INVALID
    assert says in refused.value.message


def test_a_refusal_carries_the_id_of_its_frame_and_nothing_that_is_no_id() -> None:
    for given_id, kept in ((7, 7), ("seven", "seven"), (True, None), ([], None), ("x" * 65, None)):
        with pytest.raises(FrameRefused) as refused:
            parse(encoded(t="send", id=given_id))
        assert refused.value.frame_id == kept


SECRET = "4111111111111111"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.just(SECRET) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(FRAMES)),
    st.sampled_from(("id", "c", "mid", "body", "seq", "v", "token", "turn", "score", "subs")),
)
def test_no_content_breaks_the_parser_or_comes_back_in_its_message(
    value: object, kind: str, field: str
) -> None:
    frame = {"t": kind, "id": 1, "c": "c", "mid": "m", "v": 1, field: value}
    message = ""
    try:
        parse(orjson.dumps(frame))
    except FrameRefused as refused:
        message = refused.message
    except Ended:
        pytest.fail("a frame with a known kind must not end the socket")
    assert SECRET not in message
