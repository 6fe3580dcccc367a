"""Imports modules and prints what that did besides: `python silent_imports.py ROOT MODULE...`."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import warnings
from typing import Any

WATCHED = ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir")
STANDARD_LIBRARY = os.path.dirname(os.__file__)


def done_by(root: str) -> bool:
    """Whether the nearest caller outside the standard library is a module below `root`."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith("<") and (
            "-packages" in path or not path.startswith(STANDARD_LIBRARY)
        ):
            return path.startswith(root) and "-packages" not in path
        frame = frame.f_back  # type: ignore[assignment]
    return False


def main(root: str, *names: str) -> None:
    warnings.simplefilter("ignore")
    seen: list[tuple[str, str]] = []

    def watch(event: str, details: tuple[Any, ...]) -> None:
        if event in WATCHED and done_by(root):
            seen.append((event, str(details[:1])))

    sys.addaudithook(watch)
    for name in names:
        before = threading.active_count()
        importlib.import_module(name)
        if threading.active_count() != before:
            seen.append(("a thread", name))
    print(seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
