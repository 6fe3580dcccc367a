"""CSV of questions and answers: columns `question` and `answer`; `id`, `title`, `url` if wanted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.knowledge_files.documents import KnowledgeFileError, SourceDocument, document_id, slug


def parse(path: Path, content: str) -> Iterator[SourceDocument]:
    """One document for each row. Several questions in one cell are parted by `|`."""
    first = content.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or []}
        question = columns.get("question") or columns.get("questions")
        answer = columns.get("answer")
        if question is None or answer is None:
            raise KnowledgeFileError(
                path, 'needs a header line with the columns "question" and "answer"', 1
            )
        known = {question, answer, *(columns.get(name) for name in ("id", "title", "url"))}
        for row in reader:
            yield _row(path, reader.line_num, row, question, answer, columns, known)
    except csv.Error as error:
        # The reader inside has seen lines that the one around it has not counted yet.
        raise KnowledgeFileError(path, f"is not CSV ({error})", reader.reader.line_num) from None


def _row(
    path: Path,
    line: int,
    row: Mapping[str | None, Any],
    question: str,
    answer: str,
    columns: Mapping[str, str],
    known: set[str | None],
) -> SourceDocument:
    if None in row:
        raise KnowledgeFileError(path, "has more cells than the header: quote the answer", line)
    cells = {key: (value or "").strip() for key, value in row.items() if key is not None}
    questions = tuple(part.strip() for part in cells[question].split("|") if part.strip())
    if not questions or not cells[answer]:
        raise KnowledgeFileError(path, "needs a question and an answer in each row", line)

    def cell(name: str) -> str | None:
        return cells.get(columns.get(name, "")) or None

    return SourceDocument(
        document_id(path, cell("id") or f"{slug(path.stem)[:60]}-{slug(questions[0])[:60]}", line),
        cell("title") or questions[0],
        cells[answer],
        questions,
        cell("url"),
        {key: value for key, value in cells.items() if key not in known and value},
    )
