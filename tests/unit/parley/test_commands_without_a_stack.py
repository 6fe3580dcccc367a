"""What commands answer where no stack runs, or where what they were given is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_stack import Answered
from typer.testing import CliRunner

from parley.cli import app
from parley.exits import Exit


def parley(*arguments: str, text: str = "", **env: str) -> Answered:
    """Runs the command line in this process, which is a second faster than one of its own."""
    ended = CliRunner().invoke(app, arguments, input=text, env=env, prog_name="parley")
    return Answered(ended.exit_code, ended.stdout, ended.stderr)


@pytest.mark.parametrize("command", [["say", ""], ["say", " \n"], ["sql", ""], ["sql", "-"]])
def test_saying_nothing_is_wrong_usage(tmp_path: Path, command: list[str]) -> None:
    answered = parley(*command, "--data", str(tmp_path))
    assert (answered.code, answered.out) == (Exit.USAGE, "")
    assert "says nothing" in answered.err
