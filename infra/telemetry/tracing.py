"""Spans over OpenTelemetry, nearly free while tracing is off.

Parents are passed as `traceparent` strings, as they arrive in headers and envelopes; nothing
is kept in context variables. When tracing is off, a parent is handed on unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from infra.settings.behaviour import TelemetrySettings
from infra.telemetry.guard import without_text
from infra.telemetry.trace_files import FolderExporter
from infra.telemetry.traceparent import format_traceparent, parse_traceparent

Attributes = Mapping[str, str | int | float | bool | None]

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class ActiveSpan(Protocol):
    """A span between start and end; use it in a `with` statement."""

    traceparent: str | None

    def set(self, attributes: Attributes) -> None:
        """Adds attributes; None values are left out, sentences withheld."""

    def fail(self, reason: str) -> None:
        """Marks the span as failed, with a short stable word."""

    def __enter__(self) -> ActiveSpan: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class _OffSpan:
    """Stands for a span while tracing is off, and hands the parent on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def set(self, attributes: Attributes) -> None:
        """Nothing to add to."""

    def fail(self, reason: str) -> None:
        """Nothing to mark."""

    def __enter__(self) -> _OffSpan:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None


class _RecordedSpan:
    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent: str | None = format_traceparent(span.get_span_context())

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_clean(attributes))

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, str(without_text(reason))))

    def __enter__(self) -> _RecordedSpan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Only the type: an error's own words may quote what a person wrote.
        if kind is not None:
            self.fail(kind.__name__)
        self._span.end()


class Tracing:
    """Makes spans of one process. Thread-safe."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer: Tracer | None = provider.get_tracer("parley") if provider else None

    @property
    def enabled(self) -> bool:
        """Whether spans are made; ask before work that only serves a span."""
        return self._tracer is not None

    def span(
        self,
        name: str,
        parent: str | None = None,
        attributes: Attributes | None = None,
        kind: str = "internal",
    ) -> ActiveSpan:
        """A span from now to the end of the `with` block, under a `traceparent` if given.

        Its own `traceparent` goes to whatever it causes.
        """
        if self._tracer is None:
            return _OffSpan(parent)
        return _RecordedSpan(
            self._tracer.start_span(
                name, _context(parent), _KINDS[kind], _clean(attributes) if attributes else None
            )
        )

    def record(
        self,
        name: str,
        parent: str | None,
        start_ns: int,
        end_ns: int,
        attributes: Attributes | None = None,
        kind: str = "internal",
        failure: str | None = None,
    ) -> str | None:
        """A span after the fact, with its times in nanoseconds since 1970.

        Returns its `traceparent`, or the parent while tracing is off.
        """
        if self._tracer is None:
            return parent
        span = self._tracer.start_span(
            name,
            _context(parent),
            _KINDS[kind],
            _clean(attributes) if attributes else None,
            start_time=start_ns,
        )
        if failure:
            span.set_status(Status(StatusCode.ERROR, str(without_text(failure))))
        span.end(end_ns)
        return format_traceparent(span.get_span_context())

    def flush(self, timeout_ms: int = 5000) -> bool:
        """Exports what is waiting; False if that took too long."""
        return self._provider is None or self._provider.force_flush(timeout_ms)

    def close(self) -> None:
        """Exports what is waiting and stops. Spans afterwards are dropped."""
        if self._provider is not None:
            self._provider.shutdown()


TRACING_OFF = Tracing(None)
"""Makes no spans; the default of everything that can be traced."""


def open_tracing(settings: TelemetrySettings, service: str) -> Tracing:
    """Tracing as the settings ask for; `service` names the process in every span."""
    exporter = _exporter(settings, service)
    if exporter is None:
        return TRACING_OFF
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
        resource=Resource.create({"service.name": service, "service.namespace": "parley"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        # A batch stage ends thousands of spans at once; the default queue drops half of them.
        BatchSpanProcessor(
            exporter, max_queue_size=32_768, max_export_batch_size=2048, schedule_delay_millis=500
        )
    )
    return Tracing(provider)


def _exporter(settings: TelemetrySettings, service: str) -> SpanExporter | None:
    match settings.exporter:
        case "none":
            return None
        case "otlp":
            headers = {name: held.get_secret_value() for name, held in settings.headers.items()}
            return OTLPSpanExporter(endpoint=settings.endpoint, headers=headers, timeout=3)
        case "file":
            if settings.trace_dir is None:
                raise ValueError("the exporter file needs telemetry.trace_dir")
            return FolderExporter(settings.trace_dir, service, settings.file_bytes_max)


def _context(parent: str | None) -> Context:
    remote = parse_traceparent(parent)
    # An empty context, since the current one may belong to a library that traces by itself.
    return Context() if remote is None else set_span_in_context(NonRecordingSpan(remote), Context())


def _clean(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: without_text(held) for name, held in attributes.items() if held is not None}


def now_ns() -> int:
    """The clock of spans: nanoseconds since 1970."""
    return time.time_ns()
