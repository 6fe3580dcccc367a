"""What is known of a stack from outside: its state, its parts, their processes and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infra.local.processes import Identity


class State(StrEnum):
    """Where a part, or the stack as a whole, is in its life."""

    WAITING = "waiting"
    """Not started yet: parts it needs are not ready."""
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    """It died and will be started again."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """It did not start, or must not be started again."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part. Times are seconds since the epoch, `started_at` that of its present process."""

    name: str
    version: str
    address: str
    state: State
    identity: Identity | None
    started_at: float
    restarts: int
    last_exit: str
    log: str

    @property
    def pid(self) -> int:
        """The process number, 0 if there is no process."""
        return self.identity.pid if self.identity else 0

    def rss_bytes(self) -> int:
        """Resident memory now, 0 if there is no process."""
        return self.identity.rss_bytes() if self.identity else 0

    def as_json(self) -> dict[str, Any]:
        """The entry in `run/parts.json`."""
        return {
            "name": self.name,
            "version": self.version,
            "address": self.address,
            "state": self.state.value,
            "pid": self.pid,
            "process_started": self.identity.started if self.identity else 0.0,
            "started_at": self.started_at,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "log": self.log,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PartStatus:
        """Reads what `as_json` wrote."""
        return cls(
            name=content["name"],
            version=content["version"],
            address=content["address"],
            state=State(content["state"]),
            identity=Identity.from_json(content) if content["pid"] else None,
            started_at=content["started_at"],
            restarts=content["restarts"],
            last_exit=content["last_exit"],
            log=content["log"],
        )


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The whole stack; `supervisor` is the process that runs it, `failure` says why it failed."""

    state: State
    supervisor: Identity | None
    parts: tuple[PartStatus, ...]
    failure: str = ""
    log_tail: str = ""

    @property
    def running(self) -> bool:
        """Whether its supervisor is alive."""
        return self.supervisor is not None and self.supervisor.alive()

    def part(self, name: str) -> PartStatus:
        """The part called `name`.

        Raises:
            KeyError: there is none.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)

    def as_json(self) -> dict[str, Any]:
        """The content of `run/parts.json`."""
        return {
            "state": self.state.value,
            **(self.supervisor.as_json() if self.supervisor else {}),
            "failure": self.failure,
            "log_tail": self.log_tail,
            "parts": [part.as_json() for part in self.parts],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> StackStatus:
        """Reads what `as_json` wrote."""
        return cls(
            state=State(content["state"]),
            supervisor=Identity.from_json(content),
            parts=tuple(PartStatus.from_json(part) for part in content["parts"]),
            failure=content["failure"],
            log_tail=content["log_tail"],
        )


STOPPED = StackStatus(State.STOPPED, None, ())
"""A stack that never ran."""
