"""A part of the stack: one process, as the supervisor needs to know it.

How a part is configured is its factory's business; running it is the supervisor's.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from infra.local.data_folder import DataFolder
from infra.local.ports import Ports


@dataclass(frozen=True, slots=True)
class Restart:
    """When a part that ended is started again.

    The first restart follows after `first_delay_s`; each further one waits twice as long, up to
    `longest_delay_s`, until the part has been ready for `steady_s`.
    """

    always: bool = True
    first_delay_s: float = 0.1
    longest_delay_s: float = 10.0
    steady_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack.

    `needs` names the parts that must be ready before this one starts for the first time. `ready` is
    called from a thread of its own, again and again until it returns True; False and any exception
    mean "not yet", and it must not take longer than a few seconds. `prepare` runs before every
    start, on such a thread too; an exception from it counts as a failed start. `address` is what
    clients are told in `stack.json` under the part's name, `also_at` holds further addresses by
    theirs.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    log_path: Path
    ready: Callable[[], bool]
    address: str = ""
    also_at: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    prepare: Callable[[], None] | None = None
    ready_timeout_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 15.0
    restart: Restart = Restart()


@dataclass(frozen=True, slots=True)
class Site:
    """What a factory builds its part from.

    `addresses` holds those of the parts built before, by name.
    """

    folder: DataFolder
    ports: Ports
    addresses: Mapping[str, str]

    def log_path(self, name: str) -> Path:
        """Where the output of the part `name` goes."""
        return self.folder.logs / f"{name}.log"


PartFactory: TypeAlias = Callable[[Site], Part]
"""Builds a part once the data folder is held: writes its configuration, takes its ports."""
