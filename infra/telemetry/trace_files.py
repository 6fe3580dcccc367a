"""Spans as JSON lines in a folder: each process appends to a file of its own.

For the demo and for machines without a collector; `parley trace` reads the folder.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infra.telemetry.names import CONVERSATION, MESSAGE_NAMES, TENANT


@dataclass(frozen=True, slots=True)
class SpanLine:
    """One finished span. Times are nanoseconds since 1970; `parent_id` is "" at a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int
    failure: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def duration_ms(self) -> float:
        """From start to end."""
        return (self.end_ns - self.start_ns) / 1e6


class FolderExporter(SpanExporter):
    """Appends spans to `<service>-<pid>-<start>.jsonl` in a folder.

    A file that reaches `bytes_max` is kept once under `….1` and started over, so a process
    takes twice that at most.
    """

    def __init__(self, folder: Path, service: str, bytes_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", service)
        self._path = folder / f"{safe}-{os.getpid()}-{time.time_ns():x}.jsonl"
        self._service = service
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Writes whole lines in one go, so that a reader never sees half a span but the last."""
        lines = b"".join(orjson.dumps(_line(span, self._service)) + b"\n" for span in spans)
        try:
            with self._lock:
                self._start_over_when_full(len(lines))
                with self._path.open("ab", buffering=0) as file:
                    file.write(lines)
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is held open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back."""
        return True

    def _start_over_when_full(self, more_bytes: int) -> None:
        if self._path.exists() and self._path.stat().st_size + more_bytes > self._bytes_max:
            self._path.replace(self._path.with_suffix(".1.jsonl"))


def read_spans(folder: Path, containing: str = "") -> Iterator[SpanLine]:
    """The spans in a folder whose line contains a string; half-written lines are passed over."""
    wanted = containing.encode()
    for path in sorted(folder.glob("*.jsonl")):
        try:
            with path.open("rb") as file:
                for line in file:
                    if wanted in line and (span := _read(line)) is not None:
                        yield span
        except FileNotFoundError:
            continue


def find_traces(
    folder: Path, message: str, *, tenant: str | None = None, conversation: str | None = None
) -> list[list[SpanLine]]:
    """All spans of each trace that a message, command, event or trace id names, newest first."""
    started: dict[str, int] = {}
    for span in read_spans(folder, containing=message):
        named = message == span.trace_id or any(
            span.attributes.get(name) == message for name in MESSAGE_NAMES
        )
        if named and _matches(span, tenant, conversation):
            started[span.trace_id] = max(started.get(span.trace_id, 0), span.start_ns)
    newest_first = sorted(started, key=lambda trace_id: -started[trace_id])
    return [list(read_spans(folder, containing=trace_id)) for trace_id in newest_first]


def children_of(spans: Iterable[SpanLine]) -> dict[str, list[SpanLine]]:
    """Spans by their parent's id in order of start; "" holds roots and spans whose parent is
    not among them.
    """
    held = list(spans)
    known = {span.span_id for span in held}
    children: dict[str, list[SpanLine]] = {}
    for span in sorted(held, key=lambda each: each.start_ns):
        parent = span.parent_id if span.parent_id in known else ""
        children.setdefault(parent, []).append(span)
    return children


def _matches(span: SpanLine, tenant: str | None, conversation: str | None) -> bool:
    return (tenant is None or span.attributes.get(TENANT) == tenant) and (
        conversation is None or span.attributes.get(CONVERSATION) == conversation
    )


def _line(span: ReadableSpan, service: str) -> dict[str, Any]:
    context = span.get_span_context()
    return {
        "trace_id": f"{context.trace_id:032x}" if context else "",
        "span_id": f"{context.span_id:016x}" if context else "",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else "",
        "name": span.name,
        "service": service,
        "start_ns": span.start_time or 0,
        "end_ns": span.end_time or 0,
        "failure": ""
        if span.status.is_ok or span.status.is_unset
        else span.status.description or "failed",
        "attributes": dict(span.attributes or {}),
    }


def _read(line: bytes) -> SpanLine | None:
    try:
        return SpanLine(**orjson.loads(line))
    except (json.JSONDecodeError, TypeError):
        return None
