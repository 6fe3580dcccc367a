"""JSON lines of one's own: a conversation per line.

`{"text": "…"}` or `{"messages": ["…", …]}`, where a message may also be
`{"role": "user", "content": "…"}` (other roles are passed over); an `"id"` names the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parley.importing.dialogues import Dialogue, ImportFileError, read_text

_SHAPES = 'needs "text" or "messages": see parley import --help'


def read(path: Path) -> Iterator[Dialogue]:
    """One dialogue per line; empty lines are passed over. Raises `ImportFileError`."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise ImportFileError(path, f"is not JSON ({error.msg})", number) from None
        if not isinstance(entry, dict):
            raise ImportFileError(path, _SHAPES, number)
        messages = tuple(_messages(path, number, entry))
        if messages:
            yield Dialogue(str(entry.get("id", f"line-{number}")), messages)


def _messages(path: Path, number: int, entry: dict[str, Any]) -> Iterator[str]:
    given = entry.get("messages", [entry["text"]] if "text" in entry else None)
    if not isinstance(given, list):
        raise ImportFileError(path, _SHAPES, number)
    for message in given:
        if isinstance(message, dict):
            if message.get("role") != "user":
                continue
            message = message.get("content")
        if not isinstance(message, str):
            raise ImportFileError(path, "a message that is no text", number)
        if message.strip():
            yield message.strip()
