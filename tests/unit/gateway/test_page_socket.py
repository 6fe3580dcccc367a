"""How the chat page's own socket comes back, and when it must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from chat_page import needs_node, run_module, unpacked

from gateway import replies
from gateway.close_codes import CLOSE_CODES

pytestmark = needs_node

Step = str | list[Any]
Page = Callable[..., list[Any]]
WELCOME = orjson.loads(replies.welcome("c", "s", 1000, {}, 60_000))
CONNECTED: list[Step] = [["token", "secret"], "open", ["frame", WELCOME]]
SOON_MS = 20_000
"""Later than any first few tries."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Takes the page's socket through lists of steps and says what it did in each."""
    socket = unpacked(tmp_path_factory.mktemp("page")) / "socket.js"
    script = Path(__file__).parent / "socket_in_node.mjs"
    return lambda *days: run_module(script, str(socket), given=days)


def test_hello_carries_the_token_and_frames_follow_the_welcome(page: Page) -> None:
    (told,) = page(CONNECTED)
    assert told["sent"] == [[{"t": "hello", "v": 1, "token": "secret"}]]
    assert (told["states"], told["opened"]) == (["connecting", "live"], 1)


def test_a_ping_is_answered_and_a_new_token_is_sent_when_one_is_due(page: Page) -> None:
    due = orjson.loads(replies.auth_due(1000))
    (told,) = page([*CONNECTED, ["frame", {"t": "ping"}], ["frame", due], ["token", "newer"]])
    assert told["sent"][0][1:] == [{"t": "pong"}, {"t": "auth", "id": 1, "token": "newer"}]


def test_the_close_code_says_whether_the_page_comes_back_and_bye_says_when(page: Page) -> None:
    days = []
    for close in CLOSE_CODES:
        bye = orjson.loads(replies.bye(close, close.reason, after_ms=5000))
        left: list[Step] = [*CONNECTED, ["frame", bye], ["close", close.code], ["after", 4999]]
        days += [left, [*left, ["after", SOON_MS]]]
    told = page(*days)
    for close, early, late in zip(CLOSE_CODES, told[::2], told[1::2], strict=True):
        assert early["asked"] == 0, close
        if close.reconnect:
            assert (late["states"][-1], late["asked"]) == ("connecting", 1), close
        else:
            assert (late["states"][-1], late["asked"]) == (["ended", close.reason], 0), close


def test_a_line_that_was_cut_again_and_again_comes_back_as_one(page: Page) -> None:
    (told,) = page([*CONNECTED, "cut", "cut", "cut", ["after", SOON_MS]])
    assert told["dropped"] == [True]
    assert (told["asked"], told["timers"]) == (1, [])


def test_a_line_that_was_cut_while_its_token_was_fetched_comes_back_as_one(page: Page) -> None:
    (told,) = page(["cut", ["token", "secret"], ["after", SOON_MS], ["token", "secret"]])
    assert len(told["sent"]) == 1


@pytest.mark.parametrize(
    "before",
    [["no token"], [["token", "secret"], ["close", 1006]], [*CONNECTED, "cut"]],
    ids=["no token", "refused", "cut"],
)
def test_after_a_failure_the_page_waits_but_not_longer_than_the_network_is_away(
    page: Page, before: list[Step]
) -> None:
    waits, comes, hurries, once = page(
        before,
        [*before, ["after", SOON_MS]],
        [*before, "online"],
        [*before, "online", ["after", SOON_MS]],
    )
    assert (waits["states"][-1][0], waits["asked"]) == ("waiting", 0)
    for told in (comes, hurries, once):
        assert (told["states"][-1], told["asked"]) == ("connecting", 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [["token", "late"]]),
        (CONNECTED, [["close", 1006]]),
        ([*CONNECTED, ["close", 1006]], []),
        ([*CONNECTED, "cut"], []),
    ],
    ids=["connecting", "live", "waiting", "cut"],
)
def test_who_has_given_up_never_comes_back(
    page: Page, before: list[Step], after: list[Step]
) -> None:
    (told,) = page([*before, "stop", *after, ["after", SOON_MS], "online", ["after", SOON_MS]])
    assert (told["asked"], told["timers"]) == (0, [])
    assert all(told["dropped"])


def test_silence_for_longer_than_two_pings_counts_as_a_cut_line(page: Page) -> None:
    quiet = [*CONNECTED, ["after", 2400], ["frame", {"t": "ping"}], ["after", 2400]]
    patient, cut = page(quiet, [*quiet, ["after", 200]])
    assert (patient["dropped"], cut["dropped"]) == ([False], [True])
