"""The chat page under node: its files as modules, and which node can run them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.site import PAGE

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="the page's code runs under node")


def unpacked(folder: Path) -> Path:
    """A copy of the page's modules; beside a `package.json` that says to node that they are."""
    (folder / "package.json").write_text(json.dumps({"type": "module"}))
    for module in PAGE.glob("*.js"):
        shutil.copy(module, folder)
    return folder


def run_module(script: Path, *arguments: str, given: Any) -> Any:
    """Runs a script of the tests with JSON as its input, and reads its output as JSON."""
    assert NODE is not None
    ended = subprocess.run(
        [NODE, str(script), *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@cache
def socket_flags() -> Sequence[str]:
    """What node must be told to have `WebSocket` as a browser does; skips where it has none."""
    assert NODE is not None
    for flags in ((), ("--experimental-websocket",)):
        asked = [NODE, *flags, "-e", "WebSocket"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return flags
    pytest.skip("this node has no WebSocket")
