"""What every format gives, and how a file that is not what it should be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What one customer says in one conversation, in order. `name` is the source's own id."""

    name: str
    messages: tuple[str, ...]


class ImportFileError(ValueError):
    """A file that cannot be imported; says where, what is wrong and what to do."""

    def __init__(self, path: Path, problem: str, line: int | None = None) -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {problem}")


Reader: TypeAlias = Callable[[Path], Iterable[Dialogue]]


def read_text(path: Path) -> str:
    """The content of a file. Raises `ImportFileError` where it is not UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ImportFileError(path, "is not UTF-8: save it as UTF-8") from None


def json_files(path: Path, passed_over: str = "schema") -> Iterator[Path]:
    """A file itself, or the JSON files of a folder but those whose name begins otherwise."""
    if path.is_file():
        yield path
        return
    yield from sorted(f for f in path.glob("*.json") if not f.name.startswith(passed_over))


def json_list(path: Path) -> list[dict[str, Any]]:
    """A file that holds a JSON list of objects. Raises `ImportFileError` for anything else."""
    try:
        found = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ImportFileError(path, f"is not JSON ({error.msg})", error.lineno) from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ImportFileError(path, "is not a list of dialogues: check --format")
    return found


def said_by(
    path: Path, dialogue: dict[str, Any], turns: str, speaker: str, text: str
) -> tuple[str, ...]:
    """The texts of one speaker in a dialogue whose turns have `speaker` and `text` fields."""
    found = dialogue.get(turns)
    if not isinstance(found, list):
        raise ImportFileError(path, f'a dialogue without "{turns}": check --format')
    texts = (
        turn.get(text, "") for turn in found if str(turn.get("speaker", "")).lower() == speaker
    )
    return tuple(each.strip() for each in texts if each.strip())
