"""Traces, metrics, health and logs of every process. See the README beside this."""

from infra.telemetry.health import Health
from infra.telemetry.http import (
    PortTaken,
    TelemetryServer,
    add_telemetry_routes,
    serve_telemetry,
)
from infra.telemetry.logging import set_up_logging
from infra.telemetry.metrics import Metrics
from infra.telemetry.traceparent import traceparent_of, with_traceparent
from infra.telemetry.tracing import TRACING_OFF, ActiveSpan, Tracing, now_ns, open_tracing

__all__ = [
    "TRACING_OFF",
    "ActiveSpan",
    "Health",
    "Metrics",
    "PortTaken",
    "TelemetryServer",
    "Tracing",
    "add_telemetry_routes",
    "now_ns",
    "open_tracing",
    "serve_telemetry",
    "set_up_logging",
    "traceparent_of",
    "with_traceparent",
]
