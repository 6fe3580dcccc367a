"""How commands print: colours on terminals only, full width in pipes, JSON for scripts."""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from typing import Any

from rich.console import Console

PIPE_WIDTH = 200
"""A pipe has no width; with rich's 80 columns the cells of tables would be cut."""


def _width(is_terminal: bool) -> int | None:
    return None if is_terminal or os.environ.get("COLUMNS") else PIPE_WIDTH


@lru_cache(maxsize=1)
def out() -> Console:
    """Standard output: what was asked for."""
    return Console(width=_width(sys.stdout.isatty()), highlight=False)


@lru_cache(maxsize=1)
def err() -> Console:
    """Standard error: progress, remarks and errors."""
    return Console(stderr=True, width=_width(sys.stderr.isatty()), highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
