"""The four cases: what goes wrong, and when the process is stopped."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One way to lose records.

    `stop` ends the first process once its group has acknowledged `stop_at` records, or after a
    while without that.
    """

    name: str
    story: str
    records: int
    stop_at: int
    stop: signal.Signals
    pause_s: float = 0.0
    """The broker is silent for so long before that, as in a long collection of garbage."""


RAISES = Case(
    "an agent raises",
    "The agent fails on one record, once, as when a service is away for a moment.",
    records=20,
    stop_at=20,
    stop=signal.SIGTERM,
)
TAKE = Case(
    "a batch by take()",
    "The agent takes ten records at a time and fails on one of them, once.",
    records=20,
    stop_at=20,
    stop=signal.SIGTERM,
)
OUT_OF_ORDER = Case(
    "acknowledged out of order",
    "One record takes long, later ones are done at once; then the process is killed.",
    records=20,
    stop_at=20,
    stop=signal.SIGKILL,
)
FLUSH = Case(
    "a flush gives up",
    "The broker pauses for two seconds while the agent is busy; then the process is killed.",
    records=30_000,
    stop_at=1,
    stop=signal.SIGKILL,
    pause_s=2.0,
)
CASES = (RAISES, TAKE, OUT_OF_ORDER, FLUSH)
UNLUCKY = 7
"""The number of the record that fails, or takes long, the first time that it is met."""
SLOW_S = 60.0
