"""Environments for contenders whose dependencies do not fit beside ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

QUIX = ("quixstreams==3.28.1", "fastavro==1.13.1")
BYTEWAX = ("bytewax[kafka]==0.21.1", "confluent-kafka==2.16.1", "fastavro==1.13.1")


def python_with(packages: tuple[str, ...], name: str) -> str:
    """The Python of an environment that has these packages; made at the first call."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = base / "parley" / "benchmarks" / name
    python = folder / "bin" / "python"
    mark = folder / "packages"
    if not mark.exists() or mark.read_text() != " ".join(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        mark.write_text(" ".join(packages))
    return str(python)
