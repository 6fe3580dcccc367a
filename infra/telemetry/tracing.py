"""Spans over OpenTelemetry, nearly free while tracing is off.

Parents are passed as `traceparent` strings, as they arrive in headers and envelopes; nothing
is kept in context variables. When tracing is off, a parent is handed on unchanged.

Spans are given to OpenTelemetry finished. Its own live spans, which lock, copy and count for every
attribute, cost four times as much, and a message has some thirty.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

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
_SCOPE = InstrumentationScope("parley")
_UNSET = Status(StatusCode.UNSET)
_ROOT_FLAGS = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)


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
    __slots__ = ("_attributes", "_began_ns", "_failure", "_name_and_kind", "_place", "_spans",
                 "traceparent")  # fmt: skip

    def __init__(
        self, spans: Spans, name: str, kind: str, place: Place, attributes: Attributes | None
    ) -> None:
        self._spans = spans
        self._name_and_kind = (name, kind)
        self._place = place
        self._attributes = _clean(attributes)
        self._failure: str | None = None
        self._began_ns = time.time_ns()
        self.traceparent: str | None = format_traceparent(place[0])

    def set(self, attributes: Attributes) -> None:
        self._attributes |= _clean(attributes)

    def fail(self, reason: str) -> None:
        self._failure = reason

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
        times = (self._began_ns, time.time_ns())
        self._spans.end(*self._name_and_kind, self._place, times, self._attributes, self._failure)


Place = tuple[SpanContext, SpanContext | None]
"""A span's own context and its parent's."""


class Spans:
    """Decides which traces are kept, and hands their finished spans to OpenTelemetry."""

    def __init__(self, processor: SpanProcessor, service: str, sample_ratio: float) -> None:
        self.processor = processor
        self._resource = Resource.create({"service.name": service, "service.namespace": "parley"})
        self._sampler = TraceIdRatioBased(sample_ratio)
        self._ids = RandomIdGenerator()

    def place(self, parent: str | None) -> Place:
        """The context of a new span. A trace is kept or not as its first span was."""
        above = parse_traceparent(parent)
        span_id = self._ids.generate_span_id()
        if above is not None:
            own = SpanContext(
                above.trace_id, span_id, is_remote=False, trace_flags=above.trace_flags
            )
            return own, above
        trace_id = self._ids.generate_trace_id()
        decision = self._sampler.should_sample(None, trace_id, "").decision
        kept = decision is Decision.RECORD_AND_SAMPLE
        flags = _ROOT_FLAGS if kept else TraceFlags(TraceFlags.RANDOM_TRACE_ID)
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags), None

    def end(
        self,
        name: str,
        kind: str,
        place: Place,
        times_ns: tuple[int, int],
        attributes: dict[str, str | int | float | bool],
        failure: str | None,
    ) -> None:
        """Gives a span away. `attributes` are clean already."""
        status = Status(StatusCode.ERROR, str(without_text(failure))) if failure else _UNSET
        self.processor.on_end(
            ReadableSpan(
                name,
                *place,
                resource=self._resource,
                attributes=attributes,
                kind=_KINDS[kind],
                status=status,
                start_time=times_ns[0],
                end_time=times_ns[1],
                instrumentation_scope=_SCOPE,
            )
        )


class Tracing:
    """Makes spans of one process. Thread-safe."""

    def __init__(self, spans: Spans | None) -> None:
        self._spans = spans

    @property
    def enabled(self) -> bool:
        """Whether spans are made; ask before work that only serves a span."""
        return self._spans is not None

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
        if self._spans is None:
            return _OffSpan(parent)
        place = self._spans.place(parent)
        if not place[0].trace_flags.sampled:
            return _OffSpan(format_traceparent(place[0]))
        return _RecordedSpan(self._spans, name, kind, place, attributes)

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
        if self._spans is None:
            return parent
        place = self._spans.place(parent)
        if place[0].trace_flags.sampled:
            times_ns = (start_ns, end_ns)
            self._spans.end(name, kind, place, times_ns, _clean(attributes), failure)
        return format_traceparent(place[0])

    def flush(self, timeout_ms: int = 5000) -> bool:
        """Exports what is waiting; False if that took too long."""
        return self._spans is None or self._spans.processor.force_flush(timeout_ms)

    def close(self) -> None:
        """Exports what is waiting and stops. Spans afterwards are dropped."""
        if self._spans is not None:
            self._spans.processor.shutdown()


TRACING_OFF = Tracing(None)
"""Makes no spans; the default of everything that can be traced."""


def open_tracing(settings: TelemetrySettings, service: str) -> Tracing:
    """Tracing as the settings ask for; `service` names the process in every span."""
    exporter = _exporter(settings, service)
    if exporter is None:
        return TRACING_OFF
    # A batch stage ends thousands of spans at once; the default queue drops half of them.
    processor = BatchSpanProcessor(
        exporter, max_queue_size=32_768, max_export_batch_size=2048, schedule_delay_millis=500
    )
    return Tracing(Spans(processor, service, settings.sample_ratio))


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


def _clean(attributes: Attributes | None) -> dict[str, str | int | float | bool]:
    if attributes is None:
        return {}
    return {name: without_text(held) for name, held in attributes.items() if held is not None}


def now_ns() -> int:
    """The clock of spans: nanoseconds since 1970."""
    return time.time_ns()
