"""Schema-Guided Dialogue: JSON files of dialogues; the user's turns are played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parley.importing.dialogues import Dialogue, json_files, json_list, said_by


def read(path: Path) -> Iterator[Dialogue]:
    """The dialogues of a file or of every dialogue file of a folder. Raises `ImportFileError`."""
    for file in json_files(path):
        for dialogue in json_list(file):
            messages = said_by(file, dialogue, "turns", "user", "utterance")
            yield Dialogue(str(dialogue.get("dialogue_id", "")), messages)
