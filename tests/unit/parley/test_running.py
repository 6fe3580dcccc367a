"""How a process says, by its exit code, why it did not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parley.exits import Exit

PROGRAM = """
import sys
from infra.settings import load_settings
from infra.telemetry.http import PortTaken
from parley.processes.running import run_process
from schemas.failures import Unavailable

async def body(wiring, stop):
    raise {"PortTaken": PortTaken, "Unavailable": Unavailable}[sys.argv[2]]("it is so")

sys.exit(run_process(load_settings(sys.argv[1]), "test", body))
"""


@pytest.mark.parametrize(
    ("raised", "code"), [("PortTaken", Exit.REFUSED), ("Unavailable", Exit.UNREACHABLE)]
)
def test_the_exit_code_tells_a_port_in_use_from_a_part_that_is_away(
    tmp_path: Path, raised: str, code: Exit
) -> None:
    # A process of its own, since the function takes over the process's logging and signals.
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), raised],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code
    assert f"test can't start: {raised}: it is so" in ended.stderr
