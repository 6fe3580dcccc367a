"""A running stack as tests use it: addresses, processes, the command line on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local import Stack, StackStatus, State
from infra.local.logs import tail
from infra.settings import Settings, load_settings


@dataclass(frozen=True)
class Answered:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, read as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class RunningStack:
    """A stack that is up, as a test uses it."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """The settings of a client of this stack."""
        return load_settings(self.folder)

    @property
    def addresses(self) -> dict[str, str]:
        """The content of `stack.json`."""
        return Stack(self.folder).addresses()

    def status(self) -> StackStatus:
        """The parts now."""
        return Stack(self.folder).status()

    def pid(self, part: str) -> int:
        """The process of a part, 0 while it has none."""
        return self.status().part(part).pid

    def parley(self, *arguments: str, timeout_s: float = 120, text: str = "") -> Answered:
        """Runs the command line on this stack."""
        return run_parley(*arguments, "--data", str(self.folder), timeout_s=timeout_s, text=text)

    def restarted(self, part: str, before: int, timeout_s: float = 60) -> None:
        """Waits until a part has another process than `before` and is ready again."""

        def ready() -> bool:
            found = self.status().part(part)
            return found.state is State.READY and found.pid not in (0, before)

        wait_for(ready, f"{part} to be ready again", timeout_s)

    def kill(self, part: str) -> None:
        """Ends a part as a power cut would, and waits for the next one."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        self.restarted(part, pid)

    @contextmanager
    def answering(self, settings: str) -> Iterator[None]:
        """Other settings of the section `answering`, as lines of TOML, until the block ends."""
        file = self.folder / "settings.toml"
        file.write_text(f"[answering]\n{settings}\n")
        self.kill("worker-think")
        try:
            yield
        finally:
            file.unlink()
            self.kill("worker-think")

    def complaints(self, lines: int = 12) -> str:
        """The last warnings and errors of every part."""
        said = []
        for path in sorted((self.folder / "logs").glob("*.log")):
            found = [
                line
                for line in tail(path, lines=400).splitlines()
                if '"level":"info"' not in line and " INFO " not in line
            ]
            if found:
                said.append(f"--- {path.name}\n" + "\n".join(found[-lines:]))
        return "\n".join(said)


def run_parley(*arguments: str, timeout_s: float = 120, text: str = "", **env: str) -> Answered:
    """Runs the command line in a process of its own, as a script would."""
    ended = subprocess.run(
        [sys.executable, "-m", "parley", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **env},
    )
    return Answered(ended.returncode, ended.stdout, ended.stderr)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Waits until a condition holds; fails with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain for {what}", pytrace=False)
        time.sleep(0.05)
