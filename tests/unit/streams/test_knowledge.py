"""What a process makes of the documents on the knowledge topic."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from processors.answering.retrieval import KnowledgeIndex
from streams.knowledge import brought_up


def test_a_document_that_fits_nowhere_leaves_the_others_in_their_places(
    knowledge: KnowledgeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    (article,) = knowledge.documents
    narrow = tuple(replace(p, embedding=p.embedding[:8]) for p in article.passages)
    odd = replace(article, document_id="odd", passages=narrow)
    more = replace(article, document_id="more")
    with caplog.at_level(logging.ERROR):
        index = brought_up(knowledge, {"odd": odd, "more": more, "gone": None})
    assert [d.document_id for d in index.documents] == [article.document_id, "more"]
    assert "document odd is passed over" in caplog.text
