"""The data folder of a stack: its layout, its format version, and the lock of who runs on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from infra.local.errors import FolderInUse, FolderRefused
from infra.local.files import read_json, write_json
from infra.local.processes import Identity

FORMAT = 1
"""Raised when an older version could no longer read what this one writes."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Everything that a stack keeps, under one path that only its owner may read."""

    path: Path

    @property
    def logs(self) -> Path:
        """Output of the parts, one file each."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """What describes the running stack: lock, ports, parts."""
        return self.path / "run"

    @property
    def addresses_path(self) -> Path:
        """`stack.json`: the addresses for clients."""
        return self.path / "stack.json"

    @property
    def parts_path(self) -> Path:
        """`run/parts.json`: the parts and their processes."""
        return self.run / "parts.json"

    @property
    def ports_path(self) -> Path:
        """`run/ports.json`: the ports to use again."""
        return self.run / "ports.json"

    def home(self, name: str) -> Path:
        """The folder of a part's own data, made if need be."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for this process alone; another one is refused at once.

        Raises:
            FolderInUse: another process holds it.
        """
        lock = FileLock(self.run / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise FolderInUse(self.in_use(self.holder())) from error
        try:
            write_json(self.run / "holder.json", Identity.of(os.getpid()).as_json())
            yield
        finally:
            (self.run / "holder.json").unlink(missing_ok=True)
            lock.release()

    def holder(self) -> Identity | None:
        """The live process that holds the folder, if any."""
        holder = Identity.from_json(read_json(self.run / "holder.json"))
        return holder if holder is not None and holder.alive() else None

    def in_use(self, holder: Identity | None) -> str:
        """The sentence for whoever is refused."""
        by = f"process {holder.pid}" if holder else "another process"
        return f"data folder {self.path} is in use by {by}: stop that one or use another folder"


def open_folder(path: Path) -> DataFolder:
    """Makes a data folder, or opens one that exists.

    Raises:
        FolderRefused: a newer version wrote it, it holds other things, or it cannot be written.
    """
    folder = DataFolder(path.expanduser().resolve())
    try:
        _check(folder)
        # Only a folder that is ours is closed to others: never one that a typing error named.
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.path.chmod(0o700)
        for each in (folder.logs, folder.run):
            each.mkdir(mode=0o700, exist_ok=True)
        if not _format_path(folder).exists():
            write_json(_format_path(folder), {"format": FORMAT})
    except OSError as error:
        raise FolderRefused(
            f"data folder {folder.path} cannot be used ({error.strerror}): choose another one"
        ) from error
    return folder


def _format_path(folder: DataFolder) -> Path:
    return folder.path / "format.json"


def _check(folder: DataFolder) -> None:
    try:
        found = read_json(_format_path(folder))
    except ValueError as error:
        raise FolderRefused(
            f"{_format_path(folder)} is not readable as JSON: restore it or use another folder"
        ) from error
    if found is None:
        if folder.path.exists() and any(folder.path.iterdir()):
            raise FolderRefused(
                f"folder {folder.path} holds something else than a stack's data: "
                "choose an empty or a new one"
            )
        return
    written = found.get("format") if isinstance(found, dict) else None
    if not isinstance(written, int) or written > FORMAT:
        raise FolderRefused(
            f"data folder {folder.path} was written by a newer version "
            f"(format {written}, this version reads up to {FORMAT}): "
            "update this version or use another folder"
        )
