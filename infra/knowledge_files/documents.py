"""What every reader gives, how it fails, and how documents get their ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_DOCUMENT_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


class KnowledgeFileError(ValueError):
    """A file that cannot be read as knowledge; says where, what is wrong and what to do."""

    def __init__(self, path: Path, problem: str, line: int | None = None):
        self.path, self.line, self.problem = path, line, problem
        super().__init__(f"{path}{f':{line}' if line else ''}: {problem}")


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One article as it stands in a file. `labels` holds what else its source says about it.

    `text` is plain: paragraphs between blank lines, headings as `## …`, list items as `- …`.
    """

    document_id: str
    title: str
    text: str
    questions: tuple[str, ...] = ()
    url: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def slug(text: str) -> str:
    """A document id made of a title or file name: lower case, hyphens, at most 128 characters."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:128].rstrip("-") or "document"


def document_id(path: Path, given: str | None, line: int | None = None) -> str:
    """The id that a document gives itself, checked, or one made of the file's name."""
    if given is None:
        return slug(path.stem)
    if not _DOCUMENT_ID.fullmatch(given):
        raise KnowledgeFileError(
            path,
            f'the id {given!r} is not usable: lower-case letters, digits, ".", "_" and "-", '
            "at most 128",
            line,
        )
    return given
