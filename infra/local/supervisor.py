"""Keeps a set of parts running: starts them in the order of their needs, heals, stops in reverse.

It runs in one thread, which must live as long as the parts: they die with it.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from infra.local.errors import StackError
from infra.local.part import Part
from infra.local.runner import Runner
from infra.local.status import PartStatus, State

logger = logging.getLogger(__name__)

_TICK_S = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BOUND_LOGS_EVERY_S = 30.0

Watcher = Callable[[State, tuple[PartStatus, ...]], None]
"""Called with the state of the whole and of each part, at every change.

Where it finds the disk full it is called again, until there is room.
"""


class Supervisor:
    """Runs the parts until `stop` is set; `stop_now` set as well ends them without waiting."""

    def __init__(
        self, parts: Sequence[Part], watcher: Watcher, stop: Event, stop_now: Event | None = None
    ) -> None:
        check_order(parts)
        self._parts = tuple(parts)
        self._watcher = watcher
        self._stop = stop
        self._stop_now = stop_now or Event()
        self._state = State.STARTING
        self._seen: object = None
        self._runners: dict[str, Runner] = {}

    def run(self) -> None:
        """Returns once everything has been stopped.

        Raises:
            PartFailed: a part did not start; the others have been stopped.
        """
        # A part may hang in its check for readiness; none may keep another from being asked.
        with ThreadPoolExecutor(2 * len(self._parts) + 1, "parts") as pool:
            self._runners = {part.name: Runner(part, pool) for part in self._parts}
            try:
                self._keep_running()
            finally:
                self._state = State.STOPPING
                self._stop_all()

    def _keep_running(self) -> None:
        bound_logs_at = time.monotonic() + _BOUND_LOGS_EVERY_S
        while not self._stop.is_set():
            for runner in self._runners.values():
                runner.tick(may_start=self._ready(runner.part.needs))
            if self._state is State.STARTING and self._ready(self._runners):
                self._state = State.READY
            self._report()
            if time.monotonic() > bound_logs_at:
                bound_logs_at += _BOUND_LOGS_EVERY_S
                for runner in self._runners.values():
                    runner.bound_log()
            self._stop.wait(_TICK_S)

    def _ready(self, names: Sequence[str] | dict[str, Runner]) -> bool:
        return all(self._runners[name].state is State.READY for name in names)

    def _stop_all(self) -> None:
        """Stops each part once nothing that needs it runs any more."""
        while not all(runner.done for runner in self._runners.values()):
            for runner in self._runners.values():
                if self._stop_now.is_set():
                    runner.kill()
                elif not runner.done and not self._needed(runner.part.name):
                    runner.stop() if runner.state is not State.STOPPING else runner.tick(False)
            self._report()
            self._stop_now.wait(_TICK_S)

    def _needed(self, name: str) -> bool:
        return any(name in each.part.needs and not each.done for each in self._runners.values())

    def _report(self) -> None:
        parts = tuple(runner.status() for runner in self._runners.values())
        if (self._state, parts) == self._seen:
            return
        try:
            self._watcher(self._state, parts)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # The parts have their own ways with a full disk; it must not end them all.
            if self._seen is not None:
                logger.warning("the state of the stack can't be written: %s", error.strerror)
            self._seen = None
        else:
            self._seen = (self._state, parts)


def check_order(parts: Sequence[Part]) -> None:
    """Every need must be met by an earlier part, so there are no circles either.

    Raises:
        StackError: a part needs one that comes later or does not exist, or a name occurs twice.
    """
    known: set[str] = set()
    for part in parts:
        if part.name in known:
            raise StackError(f"two parts are called {part.name}: rename one")
        for need in part.needs:
            if need not in known:
                raise StackError(f"part {part.name} needs {need}, which no earlier part is called")
        known.add(part.name)
