"""What a tenant may choose about how its conversations run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The choices that `decide` follows; times in microseconds.

    `interrupt` makes a second message stop the open answer; otherwise it waits for its turn.
    """

    analysis_deadline_us: int = 2_000_000
    turn_deadline_us: int = 60_000_000
    interrupt: bool = False
    waiting_max: int = 16
    context_events: int = 12
    attempts_max: int = 5
    config_version: str = "default"
    prompt_version: str = "grounded/1"
    model: str = "grounded"
