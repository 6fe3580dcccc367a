"""Python's collector of reference cycles, tuned for processes that serve."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """Looks for reference cycles seldom, and never among what was loaded at the start.

    Records are no cycles, so they go without the collector; but thousands live at once in a
    batch, and by default it would walk over them again and again: a sixth of the engine's time.
    Where little is allocated it still walks over all modules now and then, and everybody waits
    75 ms for that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
