"""What frontends see of each event."""

from __future__ import annotations

from typing import get_args

import orjson
import pytest
from conversation_log import ConversationLog, piece

from schemas.events import Event
from sinks.redis.frames import event_frame, sealed_texts, shown, tokens_frame


def every_event() -> list[Event]:
    log = ConversationLog()
    message = log.received("m1")
    analysis = log.analysed(message)
    turn = log.started(message, analysis.envelope.seq)
    log.restarted(turn, 2)
    log.completed(turn, attempt=2)
    log.feedback(turn)
    log.failed(log.started(log.received("m2")))
    log.cancelled(log.started(log.received("m3")))
    log.refused(log.received("m4"))
    log.rejected()
    log.closed()
    return log.events


def frame_of(event: Event) -> dict[str, object]:
    texts = [sealed.ciphertext.decode() for sealed in sealed_texts(event)]
    parsed = orjson.loads(event_frame(event, shown(event, texts)))
    assert isinstance(parsed, dict)
    return parsed


def one(kind: str) -> dict[str, object]:
    return next(f for f in map(frame_of, every_event()) if f["type"] == kind)


def test_every_event_has_a_frame() -> None:
    frames = [frame_of(event) for event in every_event()]
    assert {f["type"] for f in frames} == {kind.__name__ for kind in get_args(Event)}
    assert [f["seq"] for f in frames] == list(range(1, len(frames) + 1))
    assert all(f["t"] == "event" and f["c"] == "c-1" for f in frames)
    assert all(str(f["ts"]).endswith("Z") for f in frames)


def test_raw_text_is_in_no_frame() -> None:
    joined = b"".join(event_frame(e, shown(e, _texts(e))) for e in every_event())
    assert b"4111" not in joined


def _texts(event: Event) -> list[str]:
    return [sealed.ciphertext.decode() for sealed in sealed_texts(event)]


@pytest.mark.parametrize(
    "kind", ["TurnStarted", "TurnRestarted", "TurnCompleted", "TurnFailed", "TurnCancelled"]
)
def test_events_of_a_turn_name_it(kind: str) -> None:
    assert one(kind)["turn"]


@pytest.mark.parametrize(
    "kind", ["MessageReceived", "MessageAnalysed", "TurnStarted", "TurnCompleted", "TurnRefused"]
)
def test_events_about_a_message_carry_the_clients_id(kind: str) -> None:
    assert one(kind)["mid"] in {"m1", "m2", "m3", "m4"}


def test_analysis_shows_redacted_text_kinds_and_labels() -> None:
    assert one("MessageAnalysed")["data"] == {
        "message_seq": 2,
        "text": "card [CARD_1]",
        "kinds": ["CARD"],
        "labels": {"intent": "lost_card"},
    }


def test_an_answer_shows_text_and_citations_and_nothing_else() -> None:
    assert one("TurnCompleted")["data"] == {
        "message_seq": 2,
        "text": "Freeze it in the app [1].",
        "citations": [
            {"marker": 1, "document": "lost-card", "passage": 0, "title": "Lost cards"},
        ],
    }


def test_failures_and_refusals_show_code_and_sentence() -> None:
    assert one("TurnFailed")["data"] == {"code": "timeout", "message": "It took too long."}
    assert one("TurnRefused")["data"] == {
        "code": "busy",
        "message": "Later.",
        "retry_after_ms": 1000,
    }
    assert one("CommandRejected")["data"] == {
        "command": "SubmitMessage",
        "code": "conflict",
        "message": "No.",
    }


def test_a_comment_on_an_answer_stays_sealed() -> None:
    assert one("FeedbackReceived")["data"] == {"score": 1}


def test_a_tokens_frame_counts_code_points() -> None:
    log = ConversationLog()
    turn = log.started(log.received("m"))
    frame = orjson.loads(tokens_frame(piece(turn, 1, "a😀b", 1, 3), "😀b"))
    assert frame == {
        "t": "tokens",
        "c": "c-1",
        "turn": turn.turn_id,
        "attempt": 1,
        "from": 1,
        "to": 3,
        "text": "😀b",
    }
