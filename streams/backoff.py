"""Growing, jittered waits between tries of something that is away."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from `first_s` to `most_s`, each wait drawn between half and all of the bound."""

    def __init__(self, first_s: float = 0.1, most_s: float = 5.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._bound_s = first_s

    def next_s(self) -> float:
        """The next wait."""
        bound_s, self._bound_s = self._bound_s, min(self._bound_s * 2, self._most_s)
        return random.uniform(bound_s / 2, bound_s)

    def reset(self) -> None:
        """Begins anew after a success."""
        self._bound_s = self._first_s
