"""Ids follow from their causes, and what clients may call things is bounded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_examples import COMMAND, COMMAND_ID, EVENT, EVENT_ID

from schemas import identifiers
from schemas.commands import SubmitMessage
from schemas.events import TurnStarted
from schemas.headers import KNOWN, REPLAYED, command_headers, event_headers, header, rfc3339
from schemas.identifiers import (
    client_command_id,
    derived_id,
    event_id,
    internal_command_id,
    is_client_id,
    is_command_id,
    is_tenant_id,
    turn_id,
)
from schemas.topics import conversation_key

parts = st.lists(st.text(max_size=30), min_size=1, max_size=5)


@settings(deadline=None)
@given(parts)
def test_a_derived_id_is_the_standard_librarys_uuid5(values: list[str]) -> None:
    name = "\x1f".join(values)
    assert derived_id(*values) == str(uuid5(UUID(str(identifiers._NAMESPACE)), name))


@settings(deadline=None)
@given(parts)
def test_a_derived_id_has_the_bits_of_version_5(values: list[str]) -> None:
    parsed = UUID(derived_id(*values))
    assert (parsed.version, parsed.variant) == (5, RFC_4122)
    assert is_command_id(str(parsed))


def test_ids_of_this_platform_never_change() -> None:
    """They are in the log for ever: another derivation would make repetitions new commands."""
    command = client_command_id("demo", "c-1", "p-1", "m-1", "SubmitMessage")
    assert command == "677f8ec4-cebe-5b37-b171-15cb35c02df8"
    assert (
        internal_command_id("demo", "c-1", "timer", "7", "turn")
        == "781356e8-08bf-50ae-af72-d8e87facc94a"
    )
    assert event_id(command, bytes(16), 0) == "3fd1be4b-6ff4-5b06-820c-69d1aa57c97a"
    assert turn_id("demo", "c-1", 2) == "23f0be99-a715-5282-a3c9-3e355e753a4f"


def test_every_id_is_derived_from_what_caused_it() -> None:
    hmac = bytes(range(16))
    assert event_id("a", hmac, 3) == derived_id("event", "a", hmac.hex(), "3")
    assert event_id("a", None, 0) == derived_id("event", "a", "", "0")
    assert turn_id("demo", "c", 7) == derived_id("turn", "demo", "c", "7")
    assert client_command_id("t", "c", "p", "m", "Say") == derived_id(
        "client", "t", "c", "p", "m", "Say"
    )
    assert internal_command_id("t", "c", "o", "w", "s", 2) == derived_id(
        "stage", "t", "c", "o", "w", "s", "2"
    )


def test_every_part_of_a_clients_command_counts() -> None:
    ids = {
        client_command_id("demo", "c", "p", "m", "SubmitMessage"),
        client_command_id("other", "c", "p", "m", "SubmitMessage"),
        client_command_id("demo", "d", "p", "m", "SubmitMessage"),
        client_command_id("demo", "c", "q", "m", "SubmitMessage"),
        client_command_id("demo", "c", "p", "n", "SubmitMessage"),
        client_command_id("demo", "c", "p", "m", "CancelTurn"),
        client_command_id("demo", "cp", "", "m", "SubmitMessage"),
    }
    assert len(ids) == 7


@settings(deadline=None)
@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_no_client_can_name_a_message_so_that_it_gets_a_stages_id(mid: str, actor: str) -> None:
    mine = client_command_id("demo", "c", actor, mid, "SubmitMessage")
    assert mine != internal_command_id("demo", "c", actor, mid, "SubmitMessage")
    assert mine != internal_command_id("demo", "c", "analysis", mid, "record")


def test_events_of_a_command_differ_by_ordinal_and_by_body() -> None:
    ids = {event_id("a", body, n) for body in (None, bytes(16), b"x" * 16) for n in range(3)}
    assert len(ids) == 9


@pytest.mark.parametrize("text", ["a", "A", "0", "_", "-", "m-1_Z", "x" * 64])
def test_a_client_id_takes_letters_digits_underscore_and_hyphen(text: str) -> None:
    assert is_client_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 65, "a b", "a\n", "\na", "ä", "a:b", "a/b", "٣", "a\x00", "\ud800", "Ａ"]
)
def test_a_client_id_takes_nothing_else(text: str) -> None:
    assert not is_client_id(text)


@pytest.mark.parametrize("text", ["", "x" * 64, "Demo", "a_b", "a\n", "ä", "a:b", "a.b"])
def test_a_tenant_takes_nothing_but_lower_case_digits_and_hyphen(text: str) -> None:
    assert not is_tenant_id(text)
    assert is_tenant_id("bank-24")
    assert is_tenant_id("x" * 63)


@pytest.mark.parametrize(
    "text",
    [
        "",
        COMMAND_ID[:-1],
        COMMAND_ID + "0",
        COMMAND_ID.upper(),
        COMMAND_ID.replace("-", ""),
        "x" * 36,
        COMMAND_ID + "\n",
        COMMAND_ID.replace("-", "_"),
        "0" * 36,
    ],
)
def test_a_command_id_is_a_uuid_in_its_text_form(text: str) -> None:
    assert is_command_id(COMMAND_ID)
    assert not is_command_id(text)


def test_keys_of_conversations_join_tenant_and_conversation() -> None:
    assert conversation_key("demo", "c-1") == b"demo:c-1"


def test_a_record_bears_the_headers_of_cloudevents_and_ours() -> None:
    assert dict(event_headers(TurnStarted, EVENT, b"/parley/conversation")) == {
        "ce_specversion": b"1.0",
        "ce_id": EVENT_ID.encode(),
        "ce_type": b"parley.TurnStarted",
        "ce_source": b"/parley/conversation",
        "ce_time": b"2026-09-21T14:13:20.123456Z",
        "ce_subject": b"c-1",
        "tenantid": b"demo",
        "correlationid": b"corr-1",
        "causationid": b"c0ffee",
        "traceparent": EVENT.traceparent.encode() if EVENT.traceparent else b"",
    }
    assert set(dict(command_headers(SubmitMessage, COMMAND, b"/x"))) == KNOWN - {REPLAYED}


def test_every_event_bears_its_own_time() -> None:
    times_us = [EVENT.occurred_at + n * 999_999 for n in range(40)]
    for _ in range(2):
        for time_us in times_us:
            envelope = replace(EVENT, occurred_at=time_us)
            assert header(event_headers(TurnStarted, envelope, b"/p"), "ce_time") == rfc3339(
                time_us
            )


def test_headers_that_have_no_value_are_left_out() -> None:
    bare = replace(COMMAND, causation_id=None, traceparent=None)
    names = dict(command_headers(SubmitMessage, bare, b"/x"))
    assert KNOWN - set(names) == {"causationid", "traceparent", REPLAYED}


@settings(deadline=None)
@given(st.integers(0, 253_402_300_799_999_999))
def test_times_are_written_with_six_decimals_and_come_back(time_us: int) -> None:
    parsed = datetime.fromisoformat(rfc3339(time_us))
    assert (parsed - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == time_us


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (None, None),
        ([], None),
        ([("b", b"x")], None),
        ([("a", None)], None),
        ([("a", b"\xff")], None),
        ([("a", "grün".encode())], "grün"),
        ([("a", b"1"), ("a", b"2")], "1"),
    ],
)
def test_a_header_is_read_with_care(
    headers: list[tuple[str, bytes | None]] | None, found: str | None
) -> None:
    assert header(headers, "a") == found
