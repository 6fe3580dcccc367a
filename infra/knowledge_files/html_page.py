"""HTML pages: headings, paragraphs and list items of the article, without the page's frame.

The standard library's parser is enough, because the order of blocks is all that is kept; no tree
is built and broken markup does no harm.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from infra.knowledge_files.documents import KnowledgeFileError, SourceDocument, document_id

_NAMES = re.compile(r"\S+")
_LEFT_OUT = frozenset(
    _NAMES.findall("script style nav footer aside form template noscript svg button select")
)
_BLOCK = frozenset(
    _NAMES.findall(
        "address article blockquote body dd details div dl dt fieldset figure h1 h2 h3 h4 h5 h6"
        " hr li main ol p pre section summary table tbody thead tr ul"
    )
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6", "summary", "dt"))


class _Blocks(HTMLParser):
    """Collects headings, paragraphs and list items; leaves out what is not the article."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: str | None = None
        self.url: str | None = None
        self.blocks: list[str] = []
        self._words: list[str] = []
        self._prefix = ""
        self._left_out = 0
        self._in_title = False
        self._in_article = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._leaves_out(tag):
            self._left_out += 1
        elif tag == "title":
            self._in_title = True
        elif tag == "link" and ("rel", "canonical") in attrs:
            self.url = dict(attrs).get("href")
        elif tag in ("main", "article") and not self._in_article:
            # What stood before the first of them was the page's frame.
            self._words, self.blocks, self._in_article = [], [], True
        elif tag in ("td", "th") and "".join(self._words).strip():
            self._words.append(" | ")
        elif tag == "br":
            self._words.append(" ")
        if tag in _BLOCK:
            self.flush()
        if tag in _HEADINGS or tag == "li":
            self._prefix = "- " if tag == "li" else "## "

    def handle_endtag(self, tag: str) -> None:
        if self._leaves_out(tag):
            self._left_out = max(0, self._left_out - 1)
        elif tag == "title":
            self._in_title = False
        elif tag in _BLOCK:
            self.flush()
            if tag not in ("p", "div"):
                self._prefix = ""

    def _leaves_out(self, tag: str) -> bool:
        # The header of a page is frame, the header of an article holds its title.
        return tag in _LEFT_OUT or (tag == "header" and not self._in_article)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title = " ".join(f"{self.title or ''} {data}".split()) or None
        elif not self._left_out:
            self._words.append(data)

    def flush(self) -> None:
        """Closes the block that is being collected."""
        text = " ".join("".join(self._words).split())
        self._words = []
        if not text:
            return
        if self._prefix == "- " and self.blocks and self.blocks[-1].startswith("- "):
            self.blocks[-1] += f"\n- {text}"
        else:
            self.blocks.append(self._prefix + text)


def parse(path: Path, content: str) -> list[SourceDocument]:
    """The article of one page."""
    parser = _Blocks()
    parser.feed(content)
    parser.close()
    parser.flush()
    blocks = parser.blocks
    title = parser.title
    if blocks and blocks[0].startswith("## "):
        title = blocks.pop(0).removeprefix("## ")
    if not any(not block.startswith("## ") for block in blocks):
        raise KnowledgeFileError(path, "has no text that could answer anything: check the page")
    text = "\n\n".join(blocks)
    return [SourceDocument(document_id(path, None), title or path.stem, text, url=parser.url)]
