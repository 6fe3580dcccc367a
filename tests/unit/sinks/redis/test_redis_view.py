"""The fold of a conversation into what a snapshot shows."""

from __future__ import annotations

from typing import Any

import orjson
from conversation_log import ConversationLog

from sinks.redis.frames import sealed_texts, shown
from sinks.redis.view import EMPTY, MESSAGES_MAX, TEXT_MAX, View, evolve, stored_view


def fold(log: ConversationLog, view: View = EMPTY) -> View:
    for event in log.events[view.seq :]:
        texts = [sealed.ciphertext.decode() for sealed in sealed_texts(event)]
        view = evolve(view, event, shown(event, texts))
    return view


def state(log: ConversationLog) -> dict[str, Any]:
    parsed = orjson.loads(fold(log).state())
    assert isinstance(parsed, dict)
    return parsed


def test_a_message_appears_without_text_and_gets_it_with_its_analysis() -> None:
    log = ConversationLog()
    message = log.received("m1")
    assert "text" not in state(log)["messages"][0]
    log.analysed(message)
    shown_message = state(log)["messages"][0]
    assert shown_message["text"] == "card [CARD_1]"
    assert shown_message["analysed"] == 3


def test_a_late_analysis_shows_the_message_of_a_running_turn() -> None:
    log = ConversationLog()
    message = log.received("m1")
    turn = log.started(message)
    log.analysed(message, late=True)
    (bubble,) = state(log)["messages"]
    assert bubble["turn"] == turn.turn_id
    assert bubble["text"] == "card [CARD_1]"


def test_a_turn_is_open_until_its_answer() -> None:
    log = ConversationLog()
    turn = log.started(log.received("m1"))
    assert state(log)["turn"]["turn"] == turn.turn_id
    log.restarted(turn, 2)
    assert state(log)["turn"]["attempt"] == 2
    log.completed(turn, attempt=2)
    told = state(log)
    assert told["turn"] is None
    assert told["messages"][-1]["text"] == "Freeze it in the app [1]."
    assert fold(log).done == (turn.turn_id,)


def test_turns_that_end_without_an_answer_say_how() -> None:
    log = ConversationLog()
    log.failed(log.started(log.received("m1")))
    log.cancelled(log.started(log.received("m2")))
    log.refused(log.received("m3"))
    outcomes = [m.get("outcome") for m in state(log)["messages"]]
    assert outcomes == [None, "failed", None, "cancelled", None, "refused"]


def test_feedback_settles_on_its_answer() -> None:
    log = ConversationLog()
    turn = log.started(log.received("m1"))
    log.completed(turn)
    log.exchange("m2", "q", "a")
    log.feedback(turn, -1)
    answers = [m for m in state(log)["messages"] if m["who"] == "assistant"]
    assert [a.get("feedback") for a in answers] == [{"score": -1}, None]


def test_closing_closes() -> None:
    log = ConversationLog()
    log.received("m1")
    assert state(log)["status"] == "open"
    log.closed()
    assert state(log)["status"] == "closed"


def test_a_rejection_changes_nothing_but_the_position() -> None:
    log = ConversationLog()
    log.received("m1")
    before = fold(log)
    log.rejected()
    after = fold(log)
    assert (after.seq, after.state()) == (before.seq + 1, before.state())


def test_only_the_latest_messages_stay() -> None:
    log = ConversationLog()
    for n in range(MESSAGES_MAX):
        log.exchange(f"m{n}", f"q{n}", f"a{n}")
    messages = state(log)["messages"]
    assert len(messages) == MESSAGES_MAX
    assert messages[-1]["text"] == f"a{MESSAGES_MAX - 1}"


def test_long_texts_push_old_messages_out_but_never_the_latest() -> None:
    log = ConversationLog()
    log.exchange("m1", "q", "x" * (TEXT_MAX - 10))
    log.exchange("m2", "y" * 100, "z" * (TEXT_MAX + 1))
    (last,) = state(log)["messages"]
    assert last["text"] == "z" * (TEXT_MAX + 1)


def test_a_view_read_back_folds_on_to_the_same_bytes() -> None:
    log = ConversationLog()
    log.exchange("m1", "q", "a")
    halfway = fold(log)
    read = stored_view(
        b"%d" % halfway.seq,
        halfway.owner.encode(),
        " ".join(halfway.done).encode(),
        halfway.state(),
    )
    assert read == halfway
    log.feedback(log.started(log.received("m2")))
    log.closed()
    assert fold(log, read) == fold(log)
    assert fold(log, read).state() == fold(log).state()
