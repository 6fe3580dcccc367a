"""Small files that another process may read at any moment: replaced whole, never half written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replaces a file in one step; readers see the old or the new content."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    scratch.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Replaces a JSON file in one step."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file, None if there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
