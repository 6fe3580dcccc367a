"""Whether a process lives and is ready, as named conditions that its parts set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One check: whether it holds, and a few words for people (never text of a conversation)."""

    ok: bool
    detail: str = ""


class Health:
    """The conditions of one process. Thread-safe.

    Ready means that every expected and every set condition holds and the process is not
    draining. Alive means that nobody called `fail`; whoever supervises restarts a dead process.
    """

    def __init__(self, *expected: str) -> None:
        self._lock = threading.Lock()
        self._conditions = {name: Condition(False, "starting") for name in expected}
        self._watched: dict[str, Callable[[], str | None]] = {}
        self._failure = ""
        self._draining = False

    def set(self, name: str, ok: bool, detail: str = "") -> None:
        """Says whether a condition holds, such as `kafka` or `partitions restored`."""
        with self._lock:
            self._conditions[name] = Condition(ok, detail)

    def watch(self, name: str, trouble: Callable[[], str | None]) -> None:
        """A condition that is asked for whenever somebody looks; None says that it holds."""
        with self._lock:
            self._watched[name] = trouble

    def forget(self, name: str) -> None:
        """Takes a condition away, such as that of a partition that was revoked."""
        with self._lock:
            self._conditions.pop(name, None)

    def drain(self) -> None:
        """No longer ready, for good: traffic goes elsewhere while the process finishes."""
        with self._lock:
            self._draining = True

    def fail(self, reason: str) -> None:
        """No longer alive, for good."""
        with self._lock:
            self._failure = self._failure or reason

    @property
    def failure(self) -> str:
        """Why the process is no longer alive; "" while it is."""
        return self._failure

    @property
    def alive(self) -> bool:
        """Whether nothing has failed for good."""
        return not self._failure

    @property
    def ready(self) -> bool:
        """Whether work may be sent here."""
        return self.alive and not self._draining and all(c.ok for c in self._now().values())

    def report(self) -> dict[str, object]:
        """What `/readyz` answers: `ready`, `draining`, and every condition by name."""
        checks = {
            name: {"ok": held.ok, "detail": held.detail}
            for name, held in sorted(self._now().items())
        }
        report: dict[str, object] = {
            "ready": self.ready,
            "draining": self._draining,
            "checks": checks,
        }
        if self._failure:
            report["failure"] = self._failure
        return report

    def _now(self) -> dict[str, Condition]:
        with self._lock:
            conditions, watched = dict(self._conditions), dict(self._watched)
        for name, trouble in watched.items():
            found = trouble()
            conditions[name] = Condition(found is None, found or "")
        return conditions
