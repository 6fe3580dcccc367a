"""The W3C `traceparent` in Kafka headers and as a string.

Trace state and baggage are not carried: they could hold anything, text included.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from opentelemetry.trace import SpanContext, TraceFlags

HEADER = "traceparent"
_LENGTH = 55


def traceparent_of(headers: Iterable[tuple[str, bytes | str | None]] | None) -> str | None:
    """The `traceparent` among a record's headers, or None if there is no valid one."""
    for name, value in headers or ():
        if name == HEADER and value:
            written = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            return written if parse_traceparent(written) else None
    return None


def with_traceparent(
    headers: Iterable[tuple[str, bytes]], traceparent: str | None
) -> list[tuple[str, bytes]]:
    """The headers with this `traceparent` in the place of any other; None takes it away."""
    kept = [(name, value) for name, value in headers if name != HEADER]
    if traceparent:
        kept.append((HEADER, traceparent.encode("ascii")))
    return kept


@lru_cache(maxsize=1024)  # an answer's pieces and their hops share one
def parse_traceparent(written: str | None) -> SpanContext | None:
    """The span context that a `traceparent` names, or None for anything malformed."""
    if written is None or len(written) != _LENGTH or written[:3] != "00-":
        return None
    trace_id, span_id, flags = written[3:35], written[36:52], written[53:]
    if written[35] != "-" or written[52] != "-" or not _is_hex(trace_id + span_id + flags):
        return None
    context = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return context if context.is_valid else None


def format_traceparent(context: SpanContext) -> str:
    """The `traceparent` that names a span context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdef")
