"""What frontends see of each event."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import orjson
import pytest
from conversation_log import ConversationLog, piece

sys.path.append(str(Path(__file__).parents[2] / "schemas"))
from record_examples import EXAMPLES

from schemas.events import Event
from sinks.redis.frames import event_frame, sealed_texts, shown, tokens_frame
from sinks.redis.view import EMPTY, evolve

CONTRACT = Path(__file__).parents[4] / "sinks/redis/README.md"


def a_long_log() -> list[Event]:
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
    return next(f for f in map(frame_of, a_long_log()) if f["type"] == kind)


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_has_a_frame_and_takes_the_view_on(kind: type) -> None:
    event = EXAMPLES[kind]
    data = shown(event, ["words"] * len(sealed_texts(event)))
    frame = orjson.loads(event_frame(event, data))
    assert (frame["t"], frame["type"], frame["data"]) == ("event", kind.__name__, data)
    assert (frame["c"], frame["seq"]) == ("c-1", event.envelope.seq)
    assert frame["ts"].endswith("Z")
    assert evolve(EMPTY, event, data).seq == event.envelope.seq


@pytest.mark.parametrize("kind", get_args(Event))
def test_the_contract_says_what_clients_see_of_an_event(kind: type) -> None:
    rows = [line for line in CONTRACT.read_text().splitlines() if line.startswith("|")]
    named = any(f"`{kind.__name__}`" in row.split("|")[1] for row in rows)
    assert named, f"add {kind.__name__} to the table of frames in sinks/redis/README.md"


def test_raw_text_is_in_no_frame() -> None:
    assert "4111" not in str([frame_of(event) for event in a_long_log()])


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
