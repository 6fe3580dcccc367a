"""Cuts a document's text into passages that can stand alone: whole paragraphs, 60 to 120 words.

The text is plain paragraphs between blank lines; a paragraph that starts with `## ` is a heading
and stays with what follows it. Titles are added where a passage is embedded, not here.
"""

from __future__ import annotations

from collections.abc import Iterator

from processors.answering.words import sentences

WORDS_MIN = 60
WORDS_MAX = 120
HEADING = "## "


def size(text: str) -> int:
    """Words between blanks."""
    return len(text.split())


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, without the blank lines around them."""
    found: list[str] = []
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            lines.append(line.rstrip())
        elif lines:
            found.append("\n".join(lines))
            lines = []
    return found


def cut(text: str) -> tuple[str, ...]:
    """The passages of a text, in order, none of them empty.

    A passage is longer only where a sentence is, or where a short rest was added to the last one.
    """
    passages: list[list[str]] = []
    current: list[str] = []
    for block in _blocks(text):
        length = sum(map(size, current))
        full = length >= WORDS_MIN or (current and length + size(block) > WORDS_MAX)
        if full and not _only_headings(current):
            passages.append(current)
            current = []
        current.append(block)
    if passages and sum(map(size, current)) < WORDS_MIN // 2:
        passages[-1].extend(current)
    elif current:
        passages.append(current)
    return tuple("\n\n".join(blocks) for blocks in passages)


def _only_headings(blocks: list[str]) -> bool:
    return all(block.startswith(HEADING) for block in blocks)


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, the long ones cut between sentences; a heading is glued to what follows."""
    heading = ""
    for paragraph in paragraphs(text):
        if paragraph.startswith(HEADING):
            heading = f"{heading}{paragraph}\n\n"
            continue
        for piece in _pieces(paragraph):
            yield heading + piece
            heading = ""
    if heading:
        yield heading.strip()


def _pieces(paragraph: str) -> Iterator[str]:
    if size(paragraph) <= WORDS_MAX:
        yield paragraph
        return
    glue = "\n" if "\n" in paragraph else " "
    current: list[str] = []
    for sentence in sentences(paragraph):
        if current and sum(map(size, current)) + size(sentence) > WORDS_MAX:
            yield glue.join(current)
            current = []
        current.append(sentence)
    if current:
        yield glue.join(current)
