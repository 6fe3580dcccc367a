"""How long a provider may take, and the deadlines of one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest waits in milliseconds: for a connection, for the first text, between two messages
    of the stream (keep-alive comments do not count), and for the whole answer."""

    connect_ms: int = 3_000
    first_token_ms: int = 10_000
    idle_ms: int = 15_000
    total_ms: int = 60_000


class Clock:
    """The deadlines of one answer, on the event loop's time."""

    def __init__(self, timeouts: Timeouts):
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._timeouts = timeouts
        start = self._now()
        self._total = start + timeouts.total_ms / 1000
        self._first: float | None = start + timeouts.first_token_ms / 1000
        self._last_event = start
        self.waited_ms = 0

    @property
    def first_text_ms(self) -> int:
        """The longest wait for the first text."""
        return min(self._timeouts.first_token_ms, self._timeouts.total_ms)

    def heard(self) -> None:
        """A message came."""
        self._last_event = self._now()

    def first_text_came(self) -> None:
        """From now on only silence and the total count."""
        self._first = None

    def until_first_text(self) -> asyncio.Timeout:
        """Bounds one wait before the stream begins."""
        return asyncio.timeout_at(min(self._total, self._first or self._total))

    def until_next_event(self) -> asyncio.Timeout:
        """Bounds one wait for bytes."""
        deadline = min(
            self._total,
            self._first or self._total,
            self._last_event + self._timeouts.idle_ms / 1000,
        )
        self.waited_ms = round((deadline - self._last_event) * 1000)
        return asyncio.timeout_at(deadline)
