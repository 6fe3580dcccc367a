"""Bytes of every record's example as each released schema wrote them.

They are in `golden/<record>.<version>.hex`. Run this file after `python -m schemas release`: it
adds what is missing and never changes a file.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from record_examples import EXAMPLES, PLACES

from schemas.codec import RecordCodec
from schemas.releases import present_schemas, releases, unreleased

FOLDER = Path(__file__).parent / "golden"


def golden_path(record: type, version: int) -> Path:
    return FOLDER / f"{record.__name__}.{version}.hex"


def golden_bytes(record: type, version: int) -> bytes:
    path = golden_path(record, version)
    assert path.exists(), 'run "python tests/unit/schemas/golden_files.py"'
    return bytes.fromhex(path.read_text())


def add_missing() -> None:
    released = releases()
    waiting = ", ".join(sorted(name for _, name in unreleased(present_schemas(), released)))
    if waiting:
        sys.exit(f'not released yet: {waiting}: run "python -m schemas release"')
    for topic, record in PLACES:
        path = golden_path(record, released[topic.name, record.__name__][-1].version)
        if not path.exists():
            body = RecordCodec(record).encode(EXAMPLES[record])
            path.write_text("\n".join(textwrap.wrap(body.hex(" "), 96)) + "\n")


if __name__ == "__main__":
    add_missing()
