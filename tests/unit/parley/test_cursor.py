"""A client's position in one conversation, over incarnations of the log."""

from __future__ import annotations

from typing import Any

from parley.client.cursor import Cursor, Text

ENDED = {"t": "event", "seq": 1, "type": "TurnCompleted", "ts": "", "turn": "t-1", "data": {}}
TOKENS = {"t": "tokens", "turn": "t-1", "attempt": 1, "from": 0, "to": 2, "text": "Hi"}


def snapshot(epoch: str, seq: int) -> dict[str, Any]:
    return {"t": "snapshot", "epoch": epoch, "seq": seq, "state": {}}


def test_text_of_a_turn_that_is_over_comes_too_late() -> None:
    cursor = Cursor("first", 0)
    cursor.apply(ENDED)
    assert cursor.apply(TOKENS) is None
    cursor.apply(snapshot("first", 1))
    assert cursor.apply(TOKENS) is None


def test_a_log_that_began_anew_may_give_a_turns_id_again() -> None:
    cursor = Cursor("first", 0)
    cursor.apply(ENDED)
    cursor.apply(snapshot("second", 0))
    assert cursor.apply(TOKENS) == Text("t-1", 1, 0, "Hi")
