"""A tenant's knowledge as an immutable index: which articles and passages fit a question best.

Built from the documents of `parley.knowledge.v1`; a changed document makes a new index that
shares the unchanged parts. Embedding the question is left to the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from processors.answering.bm25 import K1, Bm25, Counted, count
from processors.answering.dense import Groups, Vectors, cosines, from_bytes
from processors.answering.fusion import QUESTION_DEPTH, dense_score, fused_score
from processors.answering.words import terms
from schemas.records import KnowledgeDocument

# Articles say the main thing first, so between passages that fit equally the first one wins.
_LEAD_BONUS = 0.08


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """A passage of a ranked article. `score` orders passages of one search, best first."""

    document_id: str
    ordinal: int
    title: str
    url: str | None
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class RankedArticle:
    """An article with its fused score and its passages, best first."""

    document_id: str
    title: str
    url: str | None
    score: float
    passages: tuple[RankedPassage, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well anything fits, as cosines, which do not depend on the tenant's size or trade.

    `best_question` and `best_passage` are the nearest of all, `article_questions` belongs to the
    best article.
    """

    best_question: float = 0.0
    article_questions: float = 0.0
    best_passage: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a search found: articles, best first, and the evidence for the first."""

    articles: tuple[RankedArticle, ...] = ()
    evidence: Evidence = Evidence()

    @property
    def passages(self) -> tuple[RankedPassage, ...]:
        """The passages of all articles in one list, best article first."""
        return tuple(passage for article in self.articles for passage in article.passages)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One document, counted and unpacked, so that a rebuild need not do it again."""

    document: KnowledgeDocument
    passages: tuple[Counted, ...] = field(repr=False)
    questions: Counted = field(repr=False)
    passage_vectors: Vectors = field(repr=False)
    question_vectors: Vectors = field(repr=False)


def _prepare(document: KnowledgeDocument) -> _Prepared:
    passages = tuple(count(f"{document.title}. {item.text}") for item in document.passages)
    questions = count(". ".join([document.title, *(item.text for item in document.questions)]))
    return _Prepared(
        document,
        passages,
        questions,
        from_bytes([item.embedding for item in document.passages]),
        from_bytes([item.embedding for item in document.questions]),
    )


def _topics(prepared: Iterable[_Prepared]) -> tuple[str, ...]:
    counted = Counter(
        topic
        for item in prepared
        if (topic := item.document.labels.get("topics", "").partition(",")[0])
    )
    return tuple(topic for topic, _ in sorted(counted.items(), key=lambda at: (-at[1], at[0])))


def _stacked(parts: Sequence[Vectors]) -> Vectors:
    """The parts below one another."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return np.zeros((0, 0), np.float32)
    if len({part.shape[1] for part in filled}) > 1:
        raise ValueError(
            "documents of one tenant have embeddings of different widths: import all of them "
            "again, with one model"
        )
    return np.vstack(filled)


@dataclass(frozen=True, slots=True)
class KnowledgeIndex:
    """All documents of one tenant, ready to search. Make one with `build`."""

    tenant_id: str
    topics: tuple[str, ...]
    """First values of the documents' label `topics`, the most frequent first."""
    _prepared: tuple[_Prepared, ...] = field(repr=False)
    _passage_terms: Bm25 = field(repr=False)
    _question_terms: Bm25 = field(repr=False)
    _passage_vectors: Vectors = field(repr=False)
    _question_vectors: Vectors = field(repr=False)
    _passage_groups: Groups = field(repr=False)
    _question_groups: Groups = field(repr=False)

    @classmethod
    def build(cls, tenant_id: str, documents: Iterable[KnowledgeDocument] = ()) -> KnowledgeIndex:
        """Indexes the documents (of each id, the last); an empty index finds nothing.

        Raises `ValueError` where a document is another tenant's or embeddings do not match.
        """
        return cls._of(tenant_id, ()).updated(documents)

    @classmethod
    def _of(cls, tenant_id: str, prepared: tuple[_Prepared, ...]) -> KnowledgeIndex:
        passages = [item.passage_vectors for item in prepared]
        questions = [item.question_vectors for item in prepared]
        return cls(
            tenant_id,
            _topics(prepared),
            prepared,
            Bm25.build([counted for item in prepared for counted in item.passages]),
            Bm25.build([item.questions for item in prepared]),
            _stacked(passages),
            _stacked(questions),
            Groups.of(passages),
            Groups.of(questions),
        )

    def updated(
        self, documents: Iterable[KnowledgeDocument] = (), removed: Iterable[str] = ()
    ) -> KnowledgeIndex:
        """A new index with documents added or replaced, and those of the ids `removed` gone."""
        by_id = {item.document.document_id: item for item in self._prepared}
        for document in documents:
            if document.tenant_id != self.tenant_id:
                raise ValueError(
                    f"document {document.document_id} belongs to tenant {document.tenant_id}, "
                    f"not to {self.tenant_id}: route it to its own index"
                )
            if document.passages:
                by_id[document.document_id] = _prepare(document)
            else:
                by_id.pop(document.document_id, None)
        for document_id in removed:
            by_id.pop(document_id, None)
        return self._of(self.tenant_id, tuple(by_id[key] for key in sorted(by_id)))

    def __len__(self) -> int:
        return len(self._prepared)

    def __contains__(self, document_id: str) -> bool:
        return any(item.document.document_id == document_id for item in self._prepared)

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of all documents, in the order of their ids."""
        return tuple(item.document.title for item in self._prepared)

    @property
    def documents(self) -> tuple[KnowledgeDocument, ...]:
        """All documents, in the order of their ids."""
        return tuple(item.document for item in self._prepared)

    def idf(self, term: str) -> float:
        """How much a stemmed term tells documents apart."""
        return self._question_terms.idf(term)

    def knows(self, term: str) -> bool:
        """Whether any document uses the stemmed term."""
        return self._passage_terms.knows(term) or self._question_terms.knows(term)

    def search(self, query: str, embedding: Vectors, k: int = 3) -> Ranking:
        """The `k` best articles for a question and its embedding (float32 [width], length one)."""
        if not self._prepared:
            return Ranking()
        found = terms(query)
        passages = cosines(self._passage_vectors, embedding)
        questions = cosines(self._question_vectors, embedding)
        passage_shares = self._passage_terms.scores(found) / _ceiling(self._passage_terms, found)
        question_shares = self._question_terms.scores(found) / _ceiling(self._question_terms, found)
        by_passages = self._passage_groups.best(passages)
        # An article without example questions is judged by its passages alone.
        by_questions = np.where(
            self._question_groups.sizes > 0,
            self._question_groups.best(questions, QUESTION_DEPTH),
            by_passages,
        )
        lexical = self._passage_groups.best(passage_shares)
        scores = fused_score(dense_score(by_questions, by_passages), question_shares, lexical)
        order = np.argsort(-scores, kind="stable")[:k]
        evidence = Evidence(
            float(max(questions.max(initial=-1.0), by_questions.max())),
            float(by_questions[order[0]]),
            float(passages.max()),
        )
        articles = tuple(
            self._article(int(number), float(scores[number]), passages, passage_shares)
            for number in order
        )
        return Ranking(articles, evidence)

    def _article(
        self, number: int, score: float, cosine: Vectors, shares: Vectors
    ) -> RankedArticle:
        document = self._prepared[number].document
        start = int(self._passage_groups.starts[number])
        passages = [
            RankedPassage(
                document.document_id,
                passage.ordinal,
                document.title,
                document.url,
                passage.text,
                float(cosine[start + offset] + shares[start + offset])
                + (_LEAD_BONUS if offset == 0 else 0.0),
            )
            for offset, passage in enumerate(document.passages)
        ]
        passages.sort(key=lambda passage: -passage.score)
        return RankedArticle(
            document.document_id, document.title, document.url, score, tuple(passages)
        )


def _ceiling(index: Bm25, query: Sequence[str]) -> float:
    """What a text could reach at most, so that scores of short and long questions compare."""
    return max(sum(index.idf(term) for term in set(query)) * (K1 + 1), 1e-6)
