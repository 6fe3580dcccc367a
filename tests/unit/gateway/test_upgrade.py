"""Origins, close codes and the bodies that must be equal for two frames to be the same."""

from __future__ import annotations

import orjson
import pytest

from gateway.close_codes import CLOSE_CODES
from gateway.commands import canonical_body
from gateway.frames import Cancel, Feedback, Send, parse
from gateway.upgrade import origin_allowed


@pytest.mark.parametrize(
    ("origin", "cookies", "allowed"),
    [
        (None, False, True),
        (None, True, False),
        ("https://chat.example:8443", False, True),
        ("https://chat.example", False, False),
        ("https://shop.example", False, True),
        ("https://shop.example.evil.test", False, False),
        ("null", False, False),
        ("file://", False, False),
        ("https://chat.example:8443@evil.test", False, False),
        ("http://[", False, False),
        ("https://chat.example:8443\udcff", False, False),
    ],
)
def test_only_our_own_origin_and_those_on_the_list_may_connect(
    origin: str | None, cookies: bool, allowed: bool
) -> None:
    host, listed = "chat.example:8443", ("https://shop.example",)
    assert origin_allowed(origin, host, listed, has_cookies=cookies) is allowed


def test_close_codes_are_distinct_and_their_range_says_whether_to_come_back() -> None:
    assert len({each.code for each in CLOSE_CODES}) == len(CLOSE_CODES)
    assert all(each.reconnect == (4400 <= each.code < 4500) for each in CLOSE_CODES)
    # A close frame holds 123 bytes of reason.
    assert all(len(each.reason.encode()) <= 120 for each in CLOSE_CODES)


def body(**fields: object) -> bytes:
    frame = parse(orjson.dumps({"id": 1, "c": "c", "mid": "m", **fields}))
    assert isinstance(frame, Send | Feedback | Cancel)
    return canonical_body(frame)


def test_a_body_is_the_same_in_any_order_and_other_in_any_other_content() -> None:
    first = body(t="feedback", turn="t", score=1)
    assert first == body(score=1, turn="t", t="feedback", comment=None)
    others = {
        body(t="feedback", turn="t", score=-1),
        body(t="feedback", turn="u", score=1),
        body(t="feedback", turn="t", score=1, comment="x"),
        body(t="cancel", turn="t"),
        body(t="send", body={"text": "t"}),
    }
    assert len(others | {first}) == 6
