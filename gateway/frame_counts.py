"""Counts frames by kind. Looks a metric's labels up once, and not for every frame."""

from __future__ import annotations

from functools import cache

from infra.telemetry.metrics import Metrics

_START = len(b'{"t":"')


class FrameCounts:
    """Frames of all sockets, into `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._into = cache(metrics.frames_in.labels)
        self._out_of = cache(lambda kind: metrics.frames_out.labels(kind.decode()))

    def received(self, kind: str) -> None:
        """A frame of one of the known kinds came in."""
        self._into(kind).inc()

    def sent(self, frame: bytes) -> None:
        """A frame went out. Every one begins with its kind: `{"t":"event",…`."""
        self._out_of(frame[_START : frame.index(b'"', _START)]).inc()
