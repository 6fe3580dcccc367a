"""Operating system processes: who they are, how they are started so that they cannot outlive us,
and how they are ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

_TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same number.

    `started` is its start time in seconds; since when depends on the platform.
    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """The identity of a live process.

        Raises:
            psutil.NoSuchProcess: there is none with this number.
        """
        return cls(pid, _started(psutil.Process(pid)))

    @classmethod
    def from_json(cls, content: Any) -> Identity | None:
        """What `as_json` wrote; None if it is not that."""
        try:
            return cls(int(content["pid"]), float(content["process_started"]))
        except (TypeError, KeyError, ValueError):
            return None

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {"pid": self.pid, "process_started": self.started}

    def process(self) -> psutil.Process | None:
        """The process if it still runs; a zombie does not."""
        with suppress(psutil.Error):
            found = psutil.Process(self.pid)
            if _started(found) == self.started and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None

    def rss_bytes(self) -> int:
        """Its resident memory, 0 if it is gone."""
        with suppress(psutil.Error):
            found = self.process()
            return int(found.memory_info().rss) if found else 0
        return 0

    def end(self, patience_s: float = 5.0) -> None:
        """Asks it to stop, and kills it if it does not in time."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            found = self.process()
            if found is None:
                return
            with suppress(psutil.NoSuchProcess):
                found.send_signal(number)
            self._wait(patience_s)

    def _wait(self, longest_s: float) -> None:
        deadline = time.monotonic() + longest_s
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)


def _started(process: psutil.Process) -> float:
    """The start time, from a clock that nobody sets where there is one.

    psutil adds Linux's seconds since the boot to the time of the boot, which moves with the clock.
    """
    if sys.platform != "linux":
        return float(process.create_time())
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    # The name, in brackets, may hold spaces; the start time is the 20th field after it.
    return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def end_all(identities: Iterable[Identity], patience_s: float = 5.0) -> None:
    """Ends several processes at once, as `Identity.end` does one."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda each: each.end(patience_s), identities))


def spawn(
    argv: tuple[str, ...],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[bytes],
    dies_with_us: signal.Signals | None = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own, so that Ctrl-C reaches us alone.

    With `dies_with_us`, Linux sends it that signal when the *thread* that called this ends, in
    whichever way: call it from a thread that lives as long as the process should.
    """
    tether: tuple[str, ...] = ()
    if dies_with_us is not None and sys.platform == "linux":
        tether = (
            sys.executable,
            "-I",
            "-S",
            str(_TETHER),
            str(os.getpid()),
            str(dies_with_us.value),
        )
    return subprocess.Popen(
        (*tether, *argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **env},
        cwd=cwd,
        start_new_session=True,
    )


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal to a spawned process and to everything it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
