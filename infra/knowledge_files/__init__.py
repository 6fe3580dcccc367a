"""Reads knowledge from files: Markdown with front matter, HTML, CSV of questions and answers.

Gives plain text; cutting it into passages and embedding them is left to the caller. A new kind
of file is a module with a `parse(path, content)` and one line in `_PARSERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from infra.knowledge_files import html_page, markdown_article, question_table
from infra.knowledge_files.documents import KnowledgeFileError, SourceDocument

__all__ = ["KnowledgeFileError", "SourceDocument", "passed_over", "read_knowledge"]

_PARSERS: dict[str, Callable[[Path, str], Iterable[SourceDocument]]] = {
    ".md": markdown_article.parse,
    ".markdown": markdown_article.parse,
    ".html": html_page.parse,
    ".htm": html_page.parse,
    ".csv": question_table.parse,
}
SIZE_BYTES_MAX = 16 * 1024 * 1024


def read_knowledge(path: Path) -> list[SourceDocument]:
    """All documents of a file, or of a folder with everything below it, in the order of paths.

    Hidden files in a folder are passed over, and what `passed_over` names. Raises
    `KnowledgeFileError` for anything unreadable, for two documents of one id, and for nothing.
    """
    if not path.exists():
        raise KnowledgeFileError(path, "does not exist: name a file or a folder")
    seen: dict[str, Path] = {}
    documents = []
    for file in _files(path):
        for document in _read(file):
            if (first := seen.get(document.document_id)) is not None:
                raise KnowledgeFileError(
                    file,
                    f"the id {document.document_id!r} is taken by {first}: "
                    'give one of them another "id"',
                )
            seen[document.document_id] = file
            documents.append(document)
    if not documents:
        raise KnowledgeFileError(path, f"holds no documents: {_kinds()} files are read")
    return documents


def passed_over(path: Path) -> list[Path]:
    """The visible files of a folder that are of no kind that is read, in the order of paths."""
    return [file for file in _visible(path) if file.suffix.lower() not in _PARSERS]


def _kinds() -> str:
    return ", ".join(sorted(_PARSERS))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in _PARSERS:
            raise KnowledgeFileError(path, f"is not one of the kinds that are read ({_kinds()})")
        return [path]
    return [file for file in _visible(path) if file.suffix.lower() in _PARSERS]


def _visible(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _read(path: Path) -> Iterable[SourceDocument]:
    return _PARSERS[path.suffix.lower()](path, _content(path))


def _content(path: Path) -> str:
    raw = path.read_bytes()
    if len(raw) > SIZE_BYTES_MAX:
        raise KnowledgeFileError(path, f"is larger than {SIZE_BYTES_MAX >> 20} MiB: split it")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise KnowledgeFileError(path, "is not UTF-8: save it as UTF-8", line) from None
