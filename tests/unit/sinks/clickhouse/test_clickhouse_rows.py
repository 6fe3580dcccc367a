"""Events become rows; raw text never does."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

sys.path.append(str(Path(__file__).parents[2] / "schemas"))
from record_examples import EXAMPLES

from schemas.envelope import Envelope, Sealed
from schemas.events import (
    ConversationClosed,
    Event,
    FeedbackReceived,
    MessageAnalysed,
    MessageReceived,
    TurnCompleted,
)
from schemas.failures import Invalid
from schemas.parts import Usage
from schemas.topics import key_of
from sinks.clickhouse import rows
from sinks.clickhouse.columns import EVENT_COLUMNS, TEXT_COLUMNS, table_of
from sinks.clickhouse.digests import Digest, digests_of_events
from sinks.clickhouse.rows import event_row, text_row
from sinks.port import Delivery

UUID = "01234567-89ab-5def-8123-456789abcdef"
HEAD = Envelope(
    UUID, "demo", "c1", 9, 1_790_000_000_000_001, UUID, None, "r", None, "sub-1", b"h" * 16
)
RAW = Sealed("sub-1", "2026-09/1", UUID, "text", b"n" * 12, b"raw words")
REDACTED = Sealed("sub-1", "2026-09/1", UUID, "redacted", b"n" * 12, b"redacted words")


def delivery(event: Any) -> Delivery:
    return Delivery("parley.events.v1", 3, 41, 7, event, key_of(event), None)


def opened(sealed: Sealed, tenant_id: str, conversation_id: str) -> str:
    assert sealed is not RAW
    assert (tenant_id, conversation_id) == ("demo", "c1")
    return sealed.ciphertext.decode()


def completed(**changes: Any) -> TurnCompleted:
    values = {
        "turn_id": "t1",
        "attempt": 2,
        "message_seq": 3,
        "mid": "m1",
        "text": REDACTED,
        "citations": (),
        "usage": Usage("grounded", "g1", 10, 20, 1_000_000_001),
        "declined": True,
        "confidence": 0.5,
        "history_turns": 1,
        "first_token_us": 2,
        "duration_us": 3,
    }
    return TurnCompleted(HEAD, **{**values, **changes})


def full(kind: type, **changes: Any) -> Any:
    """An event of a kind with something in every field, and its texts not to be shown."""
    sealed = {
        name: RAW
        for name in kind.__dataclass_fields__  # type: ignore[attr-defined]
        if isinstance(getattr(EXAMPLES[kind], name), Sealed)
    }
    return replace(EXAMPLES[kind], **{"envelope": HEAD, **sealed, **changes})


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_has_a_row_of_known_columns(kind: type) -> None:
    row = event_row(delivery(full(kind)))
    assert set(row) <= set(EVENT_COLUMNS)
    assert (row["event_type"], row["seq"], row["kafka_offset"]) == (kind.__name__, 9, 41)
    assert table_of([row], EVENT_COLUMNS).num_rows == 1


@pytest.mark.parametrize(
    "event", [full(MessageAnalysed, redacted=REDACTED), full(TurnCompleted, text=REDACTED)]
)
def test_a_redacted_text_has_a_row(event: Any) -> None:
    row = text_row(delivery(event), opened, lambda _: 30)
    assert row is not None
    assert (row["text"], row["retention_days"]) == ("redacted words", 30)
    assert row["message_seq"] == event.message_seq
    assert table_of([row], TEXT_COLUMNS).num_rows == 1


@pytest.mark.parametrize("kind", [MessageReceived, FeedbackReceived])
def test_what_people_wrote_has_no_row(kind: type) -> None:
    assert text_row(delivery(full(kind)), opened, lambda _: 30) is None


def test_a_text_that_is_about_no_message_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event has one yet. A summary of the conversation would be the first."""
    monkeypatch.setattr(rows, "redacted_text", lambda event: REDACTED)
    row = text_row(delivery(full(ConversationClosed)), opened, lambda _: 30)
    assert row is not None
    assert row["message_seq"] == 0


@pytest.mark.parametrize("kind", get_args(Event))
def test_no_row_holds_a_blob_or_an_hmac(kind: type) -> None:
    values = event_row(delivery(full(kind))).values()
    assert b"h" * 16 not in values
    assert not any(isinstance(value, Sealed) for value in values)
    assert "raw words" not in str(list(values))


def test_money_is_exact_to_a_billionth() -> None:
    assert event_row(delivery(completed()))["cost_usd"] == Decimal("1.000000001")


def test_a_message_is_about_itself() -> None:
    assert event_row(delivery(full(MessageReceived)))["message_seq"] == HEAD.seq


def test_a_text_without_a_key_has_no_row() -> None:
    assert text_row(delivery(completed()), lambda *_: None, lambda _: 90) is None


def test_what_is_no_event_has_no_row() -> None:
    with pytest.raises(Invalid, match="no place"):
        event_row(Delivery("parley.events.v1", 3, 41, 7, "hello", b"", None))


def test_a_value_that_does_not_fit_is_found_before_it_is_sent() -> None:
    with pytest.raises(OverflowError):
        table_of([event_row(delivery(completed(message_seq=-1)))], EVENT_COLUMNS)


def test_feedback_keeps_the_score_and_not_the_comment() -> None:
    row = event_row(delivery(FeedbackReceived(HEAD, "m1", "t1", 4, RAW)))
    assert row["score"] == 4
    assert "comment" not in row


def test_the_digest_does_not_depend_on_order_but_on_everything_else() -> None:
    one, two = Digest().plus(1, UUID, "A"), Digest().plus(2, UUID, "A")
    assert one.plus(2, UUID, "A") == two.plus(1, UUID, "A")
    assert one != two
    assert Digest().plus(1, UUID, "B") != one
    assert one.plus(1, UUID, "A") != one
    assert digests_of_events([(HEAD, "A")]) == {("demo", "c1"): Digest().plus(9, UUID, "A")}
