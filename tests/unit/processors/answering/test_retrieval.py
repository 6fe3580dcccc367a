"""BM25, cosines, fusion and the index over one tenant's documents."""

from __future__ import annotations

import math

import numpy as np
import pytest
from answering_parts import Embed, Write
from hypothesis import given
from hypothesis import strategies as st

from processors.answering.bm25 import K1, B, Bm25, count
from processors.answering.dense import Groups, cosines, from_bytes, to_bytes
from processors.answering.importing import assemble, prepare
from processors.answering.retrieval import Evidence, KnowledgeIndex, Ranking
from processors.answering.words import terms
from schemas.records import KnowledgeDocument, Passage


def test_bm25_is_the_formula_of_the_book() -> None:
    texts = ["pin pin card", "card fee", "fee fee fee travel abroad"]
    index = Bm25.build([count(text) for text in texts])
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    norm = K1 * (1 - B + B * 3 / (10 / 3))
    expected = idf * 2 * (K1 + 1) / (2 + norm)
    assert index.scores(terms("PIN")) == pytest.approx([expected, 0, 0])


def test_a_rare_word_counts_more_and_an_unknown_one_as_the_rarest() -> None:
    index = Bm25.build([count("card pin"), count("card fee"), count("card")])
    assert index.idf("card") < index.idf("pin") < index.idf("elephant")
    assert index.knows("pin")
    assert not index.knows("elephant")


def test_an_empty_index_scores_nothing() -> None:
    assert list(Bm25.build([]).scores(["pin"])) == []
    assert list(Bm25.build([count("")]).scores(["pin"])) == [0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 3))
def test_the_best_of_each_group_is_the_mean_of_its_highest(sizes: list[int], depth: int) -> None:
    rng = np.random.default_rng(sum(sizes))
    scores = rng.normal(size=sum(sizes)).round(1).astype(np.float32)  # some are equal
    parts = np.split(scores, np.cumsum(sizes)[:-1])
    expected = [np.sort(part)[::-1][:depth].mean() if len(part) else 0.0 for part in parts]
    assert Groups.of(parts).best(scores, depth) == pytest.approx(expected, abs=1e-6)


def test_embeddings_survive_storage_bit_by_bit() -> None:
    vector = np.array([0.1, -2.5, 3e-8], np.float32)
    assert (from_bytes([to_bytes(vector)])[0] == vector).all()
    assert from_bytes([]).shape == (0, 0)
    assert list(cosines(from_bytes([]), vector)) == []


def test_embeddings_of_two_models_in_one_document_are_refused() -> None:
    with pytest.raises(ValueError, match="one model"):
        from_bytes([b"\0" * 8, b"\0" * 12])


def test_the_article_that_answers_comes_first(bank: KnowledgeIndex, embed: Embed) -> None:
    query = "how can I change the PIN"
    ranking = bank.search(query, embed([query])[0], 2)
    assert ranking.articles[0].document_id == "pin"
    assert ranking.articles[0].score > ranking.articles[1].score
    assert ranking.passages[0].title == "Changing the PIN"
    assert 0.5 < ranking.evidence.best_question <= 1.001
    assert 0.5 < ranking.evidence.best_passage <= 1.001


def test_what_no_article_has_gives_little_evidence(bank: KnowledgeIndex, embed: Embed) -> None:
    query = "will elephants dance tomorrow"
    evidence = bank.search(query, embed([query])[0]).evidence
    assert evidence.best_question < 0.1
    assert evidence.best_passage < 0.1


def test_an_empty_index_finds_nothing(embed: Embed) -> None:
    index = KnowledgeIndex.build("bank")
    assert index.search("PIN", embed(["PIN"])[0]) == Ranking((), Evidence())
    assert (len(index), index.topics, index.titles) == (0, (), ())


def test_topics_are_counted_anew_when_documents_change(bank: KnowledgeIndex, write: Write) -> None:
    assert bank.topics == ("cards", "transfers")
    more = [write(f"t{n}", "T", "Text.", labels={"topics": "transfers"}) for n in range(4)]
    assert bank.updated(more).topics == ("transfers", "cards")
    assert bank.updated(removed=["transfer"]).topics == ("cards",)


def test_a_changed_document_replaces_the_old_one(
    bank: KnowledgeIndex, write: Write, embed: Embed
) -> None:
    newer = bank.updated([write("pin", "Secret numbers", "Ask a wizard.", ["Who knows the PIN?"])])
    assert len(newer) == len(bank) == 4
    found = newer.search("PIN", embed(["PIN"])[0]).articles[0]
    assert (found.title, found.passages[0].text) == ("Secret numbers", "Ask a wizard.")
    assert "Changing the PIN" in bank.titles


def test_a_removed_document_is_not_found_any_more(bank: KnowledgeIndex, embed: Embed) -> None:
    smaller = bank.updated(removed=["pin", "never-there"])
    assert "pin" in bank
    assert "pin" not in smaller
    ids = {article.document_id for article in smaller.search("PIN", embed(["PIN"])[0], 9).articles}
    assert ids == {"order", "delivery", "transfer"}


def test_a_document_without_passages_is_a_removed_one(bank: KnowledgeIndex) -> None:
    empty = KnowledgeDocument("bank", "pin", "x", None, 0, "d", ())
    assert "pin" not in bank.updated([empty])


def test_rebuilding_in_parts_gives_the_same_index(bank: KnowledgeIndex, embed: Embed) -> None:
    parts = KnowledgeIndex.build("bank")
    for document in reversed(bank.documents):
        parts = parts.updated([document])
    query = "order a card"
    assert parts.search(query, embed([query])[0]) == bank.search(query, embed([query])[0])


def test_a_document_of_another_tenant_is_refused(bank: KnowledgeIndex, write: Write) -> None:
    with pytest.raises(ValueError, match="belongs to tenant shop, not to bank"):
        bank.updated([write("eggs", "Eggs", "Fresh.", tenant_id="shop")])


def test_embeddings_of_another_width_are_refused(bank: KnowledgeIndex) -> None:
    odd = (Passage(0, "x", b"\0" * 8),)
    with pytest.raises(ValueError, match="widths"):
        bank.updated([KnowledgeDocument("bank", "odd", "x", None, 0, "d", odd, odd)])


def test_a_document_without_questions_is_judged_by_its_passages(embed: Embed) -> None:
    text = "Coins are not accepted."
    passage = Passage(0, text, to_bytes(embed([text])[0]))
    index = KnowledgeIndex.build(
        "bank", [KnowledgeDocument("bank", "coins", "Coins", None, 0, "d", (passage,))]
    )
    evidence = index.search("are coins accepted", embed(["are coins accepted"])[0]).evidence
    assert evidence.article_questions == evidence.best_passage > 0.9


def test_the_title_serves_as_question_where_none_is_given() -> None:
    draft = prepare("x", "Paying in coins", "## Coins\n\nNot accepted.")
    assert draft.questions == ("Paying in coins",)
    assert draft.texts == ("Paying in coins. Coins\n\nNot accepted.", "Paying in coins")


def test_embeddings_must_be_as_many_as_texts(embed: Embed) -> None:
    draft = prepare("x", "Title", "Text.", ["A?", "B?"])
    with pytest.raises(ValueError, match="3 texts to embed and got 1"):
        assemble(draft, embed(["one"]), tenant_id="t", imported_at=0, model_digest="d")
