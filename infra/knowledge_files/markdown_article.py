"""Markdown with YAML front matter: `id`, `title`, `url`, `questions`; anything else is a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from markdown_it.token import Token

from infra.knowledge_files.documents import KnowledgeFileError, SourceDocument, document_id


def parse(path: Path, content: str) -> list[SourceDocument]:
    """The article of one file."""
    front, body = _front_matter(path, content)
    blocks = list(_markdown_blocks(MarkdownIt("commonmark").enable("table").parse(body)))
    title = _text_of(path, front, "title")
    if title is None and blocks and blocks[0].startswith("## "):
        title = blocks.pop(0).removeprefix("## ")
    text = "\n\n".join(blocks)
    if not text:
        raise KnowledgeFileError(path, "has no text below its front matter: write the article")
    labels = {
        key: _label(path, key, value)
        for key, value in front.items()
        if key not in ("id", "title", "url", "questions")
    }
    document = SourceDocument(
        document_id(path, _text_of(path, front, "id"), 1),
        title or path.stem.replace("-", " ").replace("_", " ").capitalize(),
        text,
        tuple(_list_of(path, front, "questions")),
        _text_of(path, front, "url"),
        labels,
    )
    return [document]


def _front_matter(path: Path, content: str) -> tuple[dict[str, Any], str]:
    if not content.startswith("---\n"):
        return {}, content
    head, mark, body = content[4:].partition("\n---\n")
    if not mark:
        raise KnowledgeFileError(path, 'the front matter has no closing "---" line', 1)
    try:
        front = yaml.safe_load(head)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        raise KnowledgeFileError(
            path,
            f"the front matter is not YAML ({getattr(error, 'problem', None) or 'unreadable'}): "
            "put quotes around values with a colon",
            place.line + 2 if place else 1,
        ) from None
    if front is None:
        return {}, body
    if not isinstance(front, dict):
        raise KnowledgeFileError(path, "the front matter is not a list of `name: value` lines", 2)
    return {str(key): value for key, value in front.items()}, body


def _text_of(path: Path, front: Mapping[str, Any], key: str) -> str | None:
    value = front.get(key)
    if value is None:
        return None
    if isinstance(value, dict | list):
        raise KnowledgeFileError(path, f'"{key}" in the front matter must be one line of text', 1)
    return str(value).strip() or None


def _list_of(path: Path, front: Mapping[str, Any], key: str) -> list[str]:
    value = front.get(key)
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict | list) or item is None for item in items):
        raise KnowledgeFileError(
            path, f'"{key}" in the front matter must be a list of lines, colons in quotes', 1
        )
    return [text for item in items if (text := str(item).strip())]


def _label(path: Path, key: str, value: Any) -> str:
    return ",".join(_list_of(path, {key: value}, key))


def _markdown_blocks(tokens: list[Token]) -> Iterator[str]:
    """Blocks of plain text. Items of one list stay together, one line each."""
    items: list[str] = []
    depth = 0
    for number, token in enumerate(tokens):
        if token.type in ("bullet_list_open", "ordered_list_open"):
            depth += 1
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            depth -= 1
            if depth == 0 and items:
                yield "\n".join(items)
                items = []
        elif token.type in ("fence", "code_block"):
            yield token.content.strip()
        elif token.type == "inline" and (text := _inline(token)):
            opened = tokens[number - 1].type
            if opened == "heading_open":
                yield f"## {text}"
            elif depth:
                items.append(f"- {text}")
            elif opened in ("th_open", "td_open"):
                items.append(text)
            else:
                yield text
        elif token.type == "tr_close" and items:
            yield " | ".join(items)
            items = []


def _inline(token: Token) -> str:
    parts = []
    for child in token.children or []:
        if child.type in ("text", "code_inline") or child.type == "image":
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return " ".join("".join(parts).split())
