"""How the parts of a stack are shown: a table, and a line for each change."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.local import PartStatus, StackStatus, State
from infra.local.ports import HOST
from parley.local_parts import SQL, health_port_name
from parley.local_stack import ports

_MIB = 1 << 20
_STYLES = {
    State.READY: "green",
    State.STARTING: "yellow",
    State.WAITING: "dim",
    State.RESTARTING: "bold yellow",
    State.FAILED: "bold red",
    State.STOPPED: "dim",
    State.STOPPING: "yellow",
}


def metrics_addresses(status: StackStatus, folder: Path) -> dict[str, str]:
    """Where the processes with stages serve their metrics, by part."""
    taken = ports(folder)
    named = {part.name: health_port_name(part.name) for part in status.parts if part.pid}
    return {part: f"http://{HOST}:{taken[port]}" for part, port in named.items() if port in taken}


def address_of(part: PartStatus, taken: dict[str, int]) -> str:
    """Where a part can be asked: its own address, or that of its health and metrics."""
    if part.address:
        return part.address
    name = SQL if part.name == "analytics" else health_port_name(part.name)
    return f"http://{HOST}:{taken[name]}" if name in taken else ""


def part_table(status: StackStatus, folder: Path) -> Table:
    """One row per part, and the sum of their memory."""
    taken = ports(folder)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("part", "state", "version", "address"):
        table.add_column(title, overflow="fold", no_wrap=title in ("part", "address"))
    for title in ("pid", "started", "memory", "restarts"):
        table.add_column(title, justify="right")
    total = 0
    for part in status.parts:
        size = part.rss_bytes()
        total += size
        table.add_row(
            part.name,
            Text(part.state, _STYLES[part.state]),
            part.version,
            _short(address_of(part, taken)),
            str(part.pid or ""),
            _clock(part),
            f"{size / _MIB:.0f} MiB" if size else "",
            Text(str(part.restarts), "yellow" if part.restarts else ""),
        )
    table.add_row("", "", "", "", "", "", Text(f"{total / _MIB:.0f} MiB", "bold"), "")
    return table


def _short(address: str) -> str:
    """Host and port: all that fits beside the rest on a narrow terminal."""
    return urlsplit(address).netloc.rpartition("@")[2] or address


def as_json(status: StackStatus, folder: Path) -> dict[str, Any]:
    """The same for scripts. Times are seconds since the epoch."""
    taken = ports(folder)
    return {
        "data_dir": str(folder),
        "state": status.state.value,
        "failure": status.failure,
        "parts": [
            {
                "name": part.name,
                "state": part.state.value,
                "version": part.version,
                "address": address_of(part, taken),
                "pid": part.pid,
                "started_at": part.started_at,
                "memory_bytes": part.rss_bytes(),
                "restarts": part.restarts,
                "last_exit": part.last_exit,
                "log": part.log,
            }
            for part in status.parts
        ],
        "memory_bytes": sum(part.rss_bytes() for part in status.parts),
    }


def _clock(part: PartStatus) -> str:
    if not part.pid:
        return ""
    return datetime.fromtimestamp(part.started_at).strftime("%H:%M:%S")


class Changes:
    """Prints a line whenever a part becomes ready, dies or fails."""

    def __init__(self, console: Console, folder: Path) -> None:
        self._console = console
        self._folder = folder
        self._states: dict[str, State] = {}
        self._began = time.monotonic()

    def __call__(self, status: StackStatus) -> None:
        for part in status.parts:
            if self._states.get(part.name) is part.state:
                continue
            self._states[part.name] = part.state
            if part.state in (State.READY, State.RESTARTING, State.FAILED, State.STOPPED):
                self._line(part)

    def _line(self, part: PartStatus) -> None:
        line = Text.assemble(
            (f"{time.monotonic() - self._began:6.1f} s  ", "dim"),
            f"{part.name:<13}",
            (f"{part.state:<11}", _STYLES[part.state]),
            (self._address(part) if part.state is State.READY else part.last_exit, "dim"),
        )
        self._console.print(line)

    def _address(self, part: PartStatus) -> str:
        return address_of(part, ports(self._folder))
