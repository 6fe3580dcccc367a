"""Processes that a benchmark lets loose, for the length of a `with` block."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Process: TypeAlias = "subprocess.Popen[bytes]"

ENDS_S = 30.0


@contextmanager
def running(
    argv: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    core: int | None = None,
) -> Iterator[Process]:
    """A process that writes into `log`, with more environment and on one core where asked for."""

    def pinned() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            env={**os.environ, **(env or {})},
            stdout=output,
            stderr=output,
            preexec_fn=pinned,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
