"""What a process makes of the documents on the knowledge topic."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from processors.answering.retrieval import KnowledgeIndex
from streams.knowledge import brought_up


@pytest.mark.parametrize("known", [True, False], ids=["while it runs", "at a start"])
def test_a_document_that_fits_nowhere_leaves_the_others_in_their_places(
    knowledge: KnowledgeIndex, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (article,) = knowledge.documents
    narrow = tuple(replace(p, embedding=p.embedding[:8]) for p in article.passages)
    torn = tuple(replace(p, embedding=p.embedding[:-1]) for p in article.passages)
    changed = {
        "odd": replace(article, document_id="odd", passages=narrow, questions=()),
        "torn": replace(article, document_id="torn", passages=torn),
        article.document_id: article,
        "more": replace(article, document_id="more"),
        "gone": None,
    }
    index = knowledge if known else KnowledgeIndex.build("demo")
    with caplog.at_level(logging.ERROR):
        index = brought_up(index, changed)
    assert [d.document_id for d in index.documents] == [article.document_id, "more"]
    assert "documents passed over: odd, torn" in caplog.text
