"""A filesystem of its own for a data folder, small enough to be filled up."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MB = 512
_BALLAST = "ballast"


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Puts an empty folder on it until the block ends; False where the system does not let us."""
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "parley-storm", str(folder))
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True, capture_output=True)


def is_small(folder: Path) -> bool:
    """Whether the folder is on one."""
    return os.path.ismount(folder)


def fill(folder: Path) -> None:
    """Leaves no byte free."""
    with (folder / _BALLAST).open("wb", buffering=0) as ballast:
        size = 1 << 20
        while size:
            try:
                ballast.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def clear(folder: Path) -> None:
    """Gives the room back."""
    (folder / _BALLAST).unlink(missing_ok=True)
