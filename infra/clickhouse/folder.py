"""The data folder of the embedded engine: one owner at a time, said in words.

Two engines in one folder corrupt it, even if one of them only reads.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from infra.clickhouse.errors import ClickHouseError


class FolderInUse(ClickHouseError):
    """Another process owns the folder."""


class OwnedFolder:
    """A folder that is ours until `release`, or until this process ends in any way."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path.resolve()
        self._lock = os.open(self.path / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise FolderInUse(
                f"{self.path} is in use by process {owner}: stop it, or choose another folder"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def __repr__(self) -> str:
        return f"OwnedFolder({self.path})"

    def release(self) -> None:
        """Lets another process have the folder. May be called again."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
