"""The chat-completions protocol as data."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from infra.providers.chat_completions import (
    Failure,
    Reply,
    failure_of_body,
    request_body,
    retry_after_s,
    unsupported_parameter,
)
from infra.providers.errors import RateLimited, Rejected, Unavailable
from infra.providers.port import GenerationRequest, Message

REQUEST = GenerationRequest((Message("system", "Be kind."), Message("user", "Hi")))


def test_a_temperature_is_sent_only_where_one_is_set() -> None:
    assert "temperature" not in request_body("m", REQUEST)
    warm = GenerationRequest(REQUEST.messages, temperature=0.0)
    assert request_body("m", warm)["temperature"] == 0.0


def test_a_refused_token_limit_is_sent_under_its_older_name_and_then_not_at_all() -> None:
    older = request_body("m", REQUEST, {"max_completion_tokens"})
    assert older["max_tokens"] == 800
    assert "max_completion_tokens" not in older
    neither = request_body("m", REQUEST, {"max_completion_tokens", "max_tokens"})
    assert "max_tokens" not in neither
    assert "max_completion_tokens" not in neither


@pytest.mark.parametrize(
    ("status", "parameter", "expected"),
    [
        (400, "temperature", "temperature"),
        (422, "max_completion_tokens", "max_completion_tokens"),
        (400, "messages", None),
        (401, "temperature", None),
    ],
)
def test_only_parameters_that_can_be_left_out_are_tried_without(
    status: int, parameter: str, expected: str | None
) -> None:
    body = json.dumps({"error": {"param": parameter, "code": "unsupported_value"}}).encode()
    assert unsupported_parameter(status, body) == expected


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"3", b'{"detail": "no"}', b'{"error": null}', b"\xff"]
)
def test_a_body_without_an_error_object_is_an_empty_failure(body: bytes) -> None:
    failure = failure_of_body(body)
    assert (failure.code, failure.kind, failure.suffix) == ("", "", "")


def test_codes_are_kept_and_sentences_are_not() -> None:
    body = {"error": {"code": "model_not_found", "type": "has blanks", "message": "secret"}}
    failure = failure_of_body(json.dumps(body).encode())
    assert failure.suffix == " (model_not_found)"
    assert failure_of_body(b'{"error": {"code": "you said: hello"}}').suffix == ""
    assert failure_of_body(b'[{"error": {"code": 503}}]').code == "503"


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure("rate_limit_exceeded"), RateLimited),
        (Failure("429"), RateLimited),
        (Failure("", "insufficient_quota"), RateLimited),
        (Failure("", "invalid_request_error"), Rejected),
        (Failure("", "overloaded_error"), Unavailable),
    ],
)
def test_errors_inside_a_stream_become_instructions(
    failure: Failure, kind: type[Exception]
) -> None:
    assert type(failure.error("here")) is kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Sat, 21 Nov 2026 00:01:00 GMT", 60.0),
        ("Fri, 20 Nov 2026 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, datetime(2026, 11, 21, tzinfo=UTC)) == seconds


def test_only_the_first_choice_is_text() -> None:
    reply = Reply()
    choices = [
        {"index": 0, "delta": {"content": "a"}},
        {"index": 1, "delta": {"content": "b"}},
        {"index": 0, "delta": {"content": None}},
        {"index": 0, "delta": {"tool_calls": []}},
        {"index": 0},
        "odd",
    ]
    assert reply.heard(json.dumps({"choices": choices})) == "a"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "filtered"), ("other", "stop")],
)
def test_reasons_to_end_are_translated(given: str, expected: str) -> None:
    reply = Reply()
    assert not reply.finished
    reply.heard(json.dumps({"choices": [{"delta": {}, "finish_reason": given}]}))
    assert reply.finished
    assert reply.reason == expected


def test_usage_is_the_providers_where_it_is_sound_and_estimated_otherwise() -> None:
    reply = Reply()
    reply.heard('{"usage": {"prompt_tokens": -1, "completion_tokens": "x"}}')
    reply.heard('{"choices": [{"delta": {"content": "12345"}}]}')
    assert reply.tokens(REQUEST) == (3, 2, True)
    reply.heard('{"usage": {"prompt_tokens": 7, "completion_tokens": 9}}')
    assert reply.tokens(REQUEST) == (7, 9, False)
