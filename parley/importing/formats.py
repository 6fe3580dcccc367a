"""The formats that `parley import` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from parley.importing import banking77, jsonl, sgd, taskmaster
from parley.importing.dialogues import Dialogue, ImportFileError, Reader

READERS: Mapping[str, Reader] = {
    "banking77": banking77.read,
    "sgd": sgd.read,
    "taskmaster": taskmaster.read,
    "jsonl": jsonl.read,
}


def read_dialogues(path: Path, name: str, limit: int | None = None) -> list[Dialogue]:
    """The first `limit` dialogues of a file or folder; those where nobody speaks are left out.

    Raises `ImportFileError`.
    """
    if not path.exists():
        raise ImportFileError(path, "does not exist: name a file or a folder")
    if path.is_dir() and name in ("banking77", "jsonl"):
        raise ImportFileError(path, f"is a folder: name one {name} file")
    found: Iterator[Dialogue] = (each for each in READERS[name](path) if each.messages)
    dialogues = list(islice(found, limit))
    if not dialogues:
        raise ImportFileError(path, "holds no messages of customers: check --format")
    return dialogues
