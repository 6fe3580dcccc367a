"""Log files of the parts: kept for one earlier run, bounded in size, quoted in errors."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

LARGEST_BYTES = 64 * 1024 * 1024


def rotate(path: Path) -> None:
    """Moves the log of the run before aside, over that of the run before that."""
    if path.exists():
        path.replace(_older(path))


def bound(path: Path, largest_bytes: int = LARGEST_BYTES) -> None:
    """Moves the content of a log aside once it is too long.

    The writer keeps its file: it appends, so it goes on at the new end.
    """
    try:
        if path.stat().st_size <= largest_bytes:
            return
        _keep_older(path)
        with path.open("r+b") as file:
            file.truncate(0)
    except FileNotFoundError:
        return


def _keep_older(path: Path) -> None:
    try:
        shutil.copyfile(path, _older(path))
    except FileNotFoundError:
        raise
    except OSError:  # no room for both: then this one makes some
        _older(path).unlink(missing_ok=True)


def tail(path: Path, start: int = 0, lines: int = 15) -> str:
    """The last lines of a log, counting from the byte `start`."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(start, end - 16_384) if start <= end else 0)
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def last_error(path: Path, start: int = 0) -> str:
    """What the last error in a log of JSON lines says, counting from the byte `start`."""
    for line in reversed(tail(path, start, lines=200).splitlines()):
        with suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            if entry["level"] == "error":
                return str(entry["message"])
    return ""


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")
