"""Parts that are small Python processes, for tests of how parts are run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from infra.local import Part, PartFactory, Restart, Site

SLEEPS = "import signal, sys; sys.stdout.write('up\\n'); sys.stdout.flush(); signal.pause()"
QUICK = Restart(first_delay_s=0.01)


def part(
    name: str,
    folder: Path,
    code: str = SLEEPS,
    *,
    needs: tuple[str, ...] = (),
    ready: Callable[[], bool] | None = None,
    ready_timeout_s: float = 20.0,
    stop_timeout_s: float = 10.0,
    restart: Restart = QUICK,
    prepare: Callable[[], None] | None = None,
) -> Part:
    """A part that runs `code` and is ready once it has said that it is up."""
    log_path = folder / f"{name}.log"
    return Part(
        name=name,
        version="1",
        argv=(sys.executable, "-I", "-S", "-c", code),
        log_path=log_path,
        ready=ready or (lambda: b"up" in log_path.read_bytes()),
        address=f"test://{name}",
        also_at={f"{name}-metrics": f"test://{name}/metrics"} if name == "cache" else {},
        needs=needs,
        ready_timeout_s=ready_timeout_s,
        stop_timeout_s=stop_timeout_s,
        restart=restart,
        prepare=prepare,
    )


def factory(name: str, code: str = SLEEPS) -> PartFactory:
    """A factory of such a part."""

    def build(site: Site) -> Part:
        return part(name, site.folder.logs, code)

    return build


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Waits for a condition.

    Raises:
        AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children_of_this_process() -> set[int]:
    """Processes that we started and that have not been reaped."""
    return {child.pid for child in psutil.Process(os.getpid()).children()}
