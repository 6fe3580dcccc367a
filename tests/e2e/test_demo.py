"""The demo keeps its own promises, and says so by its exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from running_stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def test_the_demo_shows_everything_and_ends_well(slow_answers: RunningStack) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "parley.demo", "--data", str(slow_answers.folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    for shown in (
        "<CARD_1>",
        "kill -9",
        "attempt 2 begins",
        "$ parley log",
        "TurnRestarted",
        "$ parley sql",
        "$ parley verify",
        "chat in the browser",
    ):
        assert shown in ended.stdout, shown
    assert "4111 1111" not in ended.stdout
