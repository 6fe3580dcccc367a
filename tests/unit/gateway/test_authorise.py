"""What is shown of a conversation, and of one that nobody owns yet."""

from __future__ import annotations

import orjson
import pytest

from gateway.authorise import before_owner, may_read
from gateway.read_model import Page, View, logged


def page(*mids: str | None, after: int = 0, head: int | None = None) -> Page:
    """Refused commands of these ids, the first of them as event `after + 1`."""
    frames = [
        {"t": "event", "seq": after + n, "type": "CommandRejected", "data": {}}
        | ({} if mid is None else {"mid": mid})
        for n, mid in enumerate(mids, 1)
    ]
    seq = after + len(mids) if head is None else head
    events = tuple(logged(orjson.dumps(frame)) for frame in frames)
    return Page("e1", View(seq, "e1", "", b'{"messages": []}'), events, None)


def shown(page: Page, seq: int = 0, own: str = "a b c") -> tuple[int, list[str | None]]:
    part = before_owner(page, seq, own.split().__contains__)
    assert part.epoch == "e1"
    return part.head, [event.mid for event in part.events]


@pytest.mark.parametrize(
    ("roles", "allowed"), [((), False), (("user", "analyst"), False), (("agent",), True)]
)
def test_who_is_not_the_owner_needs_a_reading_role_also_while_there_is_no_owner(
    roles: tuple[str, ...], allowed: bool
) -> None:
    assert may_read("p-1", "p-2", frozenset(roles)) is allowed
    assert may_read("", "p-2", frozenset(roles)) is allowed
    assert may_read("p-2", "p-2", frozenset(roles))


def test_refusals_of_ones_own_commands_are_shown() -> None:
    assert shown(page("a", "b")) == (2, ["a", "b"])
    assert shown(page("b", after=1), seq=1) == (2, ["b"])


def test_from_somebody_elses_refusal_on_nothing_is_shown_not_even_how_much_there_is() -> None:
    assert shown(page("x", "a")) == (0, [])
    assert shown(page("a", "x", "b")) == (1, ["a"])
    assert shown(page("a", None)) == (1, ["a"])


def test_who_has_seen_some_keeps_its_place_and_who_claims_more_than_there_is_does_not() -> None:
    assert shown(page(after=1, head=1), seq=1) == (1, [])
    assert shown(page(after=9, head=1), seq=9) == (0, [])


def test_refusals_whose_front_is_gone_are_not_shown_as_if_they_were_whole() -> None:
    assert shown(page("a", after=4)) == (0, [])


def test_the_state_of_a_conversation_without_an_owner_is_not_given_away() -> None:
    part = before_owner(page("a"), 0, lambda mid: True)
    assert part.view is not None
    assert part.view.state == b"{}"
    assert before_owner(page("x"), 0, lambda mid: False).view is None
