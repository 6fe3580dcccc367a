"""Record headers: CloudEvents in binary mode, our extensions, and the bare trace context."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, lru_cache

from schemas.envelope import CommandEnvelope, Envelope
from schemas.topics import full_name

Headers = list[tuple[str, bytes]]

SPEC_VERSION = b"1.0"
REPLAYED = "replayed"
"""Of a record that had been put aside and went round again: the number of its dead letter."""
KNOWN = frozenset(
    (
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_time",
        "ce_subject",
        "ce_specversion",
        "tenantid",
        "correlationid",
        "causationid",
        "traceparent",
        REPLAYED,
    )
)
"""All that we write, and all that a dead letter repeats: foreign headers may hold anything."""


def event_headers(event: type, envelope: Envelope, source: bytes) -> Headers:
    """Headers of an event. `source` is the writing stage, such as `b"/parley/conversation"`."""
    return _headers(event, envelope.event_id, envelope.occurred_at, source, envelope)


def command_headers(command: type, envelope: CommandEnvelope, source: bytes) -> Headers:
    """Headers of a command."""
    return _headers(command, envelope.command_id, envelope.issued_at, source, envelope)


def _headers(
    record: type, ce_id: str, time_us: int, source: bytes, envelope: Envelope | CommandEnvelope
) -> Headers:
    headers = [
        *_constant(record, source),
        ("ce_id", ce_id.encode()),
        ("ce_time", _time(time_us)),
        ("ce_subject", envelope.conversation_id.encode()),
        ("tenantid", envelope.tenant_id.encode()),
        ("correlationid", envelope.correlation_id.encode()),
    ]
    if envelope.causation_id is not None:
        headers.append(("causationid", envelope.causation_id.encode()))
    if envelope.traceparent is not None:
        headers.append(("traceparent", envelope.traceparent.encode()))
    return headers


@cache
def _constant(record: type, source: bytes) -> Headers:
    """What all records of a type from one stage share."""
    return [
        ("ce_specversion", SPEC_VERSION),
        ("ce_type", full_name(record).encode()),
        ("ce_source", source),
    ]


@lru_cache(maxsize=16)  # the events of a batch have one time
def _time(time_us: int) -> bytes:
    return rfc3339(time_us).encode()


def rfc3339(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC with six decimals."""
    seconds, micros = divmod(time_us, 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=16)  # a batch shares its second, and formatting one costs as much as its record
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def header(headers: Iterable[tuple[str, bytes | None]] | None, name: str) -> str | None:
    """The first header of a name as text; None if it is absent or no UTF-8."""
    for key, value in headers or ():
        if key == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None
