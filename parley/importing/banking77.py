"""BANKING77: a CSV with a column `text`; each row is a conversation of one question."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from parley.importing.dialogues import Dialogue, ImportFileError, read_text


def read(path: Path) -> Iterator[Dialogue]:
    """One dialogue per row. Raises `ImportFileError`."""
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if "text" not in (rows.fieldnames or ()):
        raise ImportFileError(path, 'has no column "text": the first line must name the columns', 1)
    for number, row in enumerate(rows, 1):
        text = (row["text"] or "").strip()
        if text:
            yield Dialogue(f"row-{number}", (text,))
