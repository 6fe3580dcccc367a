"""The grounded answerer: finds the passages that answer a message, or says that it does not know.

A sandwich: `prepare` names the texts to embed, `interpret` makes the answer of their embeddings.
Both are pure; embedding and streaming are left to `infra/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from processors.answering.citing import CitedPassage
from processors.answering.composing import Wanted, compose, decline
from processors.answering.context import TurnContext
from processors.answering.courtesies import courtesy
from processors.answering.dense import Vectors
from processors.answering.follow_ups import Dependence, anchor, dependence
from processors.answering.grounding import GroundingModel
from processors.answering.retrieval import KnowledgeIndex, RankedPassage, Ranking
from processors.answering.words import terms

# A message this close to a known question means that question, whatever was said before.
_PLAIN_COSINE = 0.78
# The two below were tried on 32 dialogues of two questions: with neither, 26 end at the right
# article, with both 29.
_MESSAGE_SHARE = 0.25
_CITED_PENALTY = 0.05
_SURE = 0.9
_NEAR = 0.3
_TOPICS_MAX = 4
ARTICLES_MAX = 5


@dataclass(frozen=True, slots=True)
class GroundedAnswer:
    """An answer that rests on passages, or an honest "I do not know".

    `passages` are the best of the search, for a model's prompt; `citations` are those that `text`
    quotes. `confidence` is the probability that the knowledge holds the answer.
    `query` is what was searched in the end, `in_context` whether an earlier message was part of it.
    """

    text: str
    citations: tuple[CitedPassage, ...]
    confidence: float
    declined: bool
    passages: tuple[RankedPassage, ...]
    query: str
    in_context: bool


def prepare(context: TurnContext) -> tuple[str, ...]:
    """The texts to embed: the message, and the message after its anchor where it may need one."""
    query = context.query
    if dependence(query) is Dependence.NONE or (earlier := anchor(context)) is None:
        return (query,)
    return (query, f"{earlier} {query}")


def needed(
    texts: Sequence[str], embedding: Vectors, index: KnowledgeIndex, model: GroundingModel
) -> tuple[str, ...]:
    """Those of `prepare`'s texts that `interpret` needs, judged by the embedding of the first.

    Embedding takes far longer than a search, and few follow-ups need the message before them.
    """
    if len(texts) > 1:
        ranking = index.search(texts[0], embedding, ARTICLES_MAX)
        if _stands_alone(texts[0], ranking, index, model):
            return tuple(texts[:1])
    return tuple(texts)


def interpret(
    texts: Sequence[str],
    embeddings: Vectors,
    index: KnowledgeIndex,
    context: TurnContext,
    model: GroundingModel,
    *,
    passages_max: int = 3,
) -> GroundedAnswer:
    """Answers from the index; `embeddings` is float32 [len(texts), width] for `needed` texts."""
    topics = index.topics[:_TOPICS_MAX]
    if (reply := courtesy(context.query, topics)) is not None:
        return GroundedAnswer(reply, (), 1.0, False, (), context.query, False)
    found = _choose(texts, embeddings, index, context, model)
    ranking, query = found.ranking, texts[found.number]
    confidence = model.confidence(ranking.evidence) if ranking.articles else 0.0
    passages = tuple(article.passages[0] for article in ranking.articles)[:passages_max]
    in_context = found.number > 0
    if not ranking.articles or not model.knows(ranking.evidence):
        text = decline(ranking, topics, near=confidence >= _NEAR)
        return GroundedAnswer(text, (), confidence, True, passages, query, in_context)
    wanted = Wanted.by(query, index.idf, asked=texts[0])
    text, citations = compose(wanted, ranking, sure=confidence >= _SURE)
    return GroundedAnswer(text, citations, confidence, False, passages, query, in_context)


@dataclass(frozen=True, slots=True)
class _Found:
    """A search, and the number of the text that was searched: 0 alone, 1 with its anchor."""

    number: int
    ranking: Ranking


def _choose(
    texts: Sequence[str],
    embeddings: Vectors,
    index: KnowledgeIndex,
    context: TurnContext,
    model: GroundingModel,
) -> _Found:
    """Searches without and, where prepared, with context, and keeps what fits better."""
    alone = _Found(0, index.search(texts[0], embeddings[0], ARTICLES_MAX))
    if len(texts) == 1 or _stands_alone(texts[0], alone.ranking, index, model):
        return alone
    blended = embeddings[1] + np.float32(_MESSAGE_SHARE) * embeddings[0]
    blended /= np.linalg.norm(blended)
    joined = index.search(texts[1], blended, ARTICLES_MAX)
    if not model.knows(joined.evidence):
        return alone
    return _Found(1, _moved_on(joined, context.earlier[-1].cited[:1]))


def _stands_alone(
    query: str, ranking: Ranking, index: KnowledgeIndex, model: GroundingModel
) -> bool:
    """Whether what was said before can't change what a message's own search found."""
    if not _familiar(query, index):
        return True
    plain = ranking.evidence.best_question >= _PLAIN_COSINE
    leaning = dependence(query) is Dependence.LEANING
    return model.knows(ranking.evidence) and (plain or not leaning)


def _moved_on(ranking: Ranking, cited: Sequence[str]) -> Ranking:
    """Lowers the article that was just quoted a little: who asks on has read it."""
    articles = [
        replace(article, score=article.score - _CITED_PENALTY)
        if article.document_id in cited
        else article
        for article in ranking.articles
    ]
    articles.sort(key=lambda article: -article.score)
    return replace(ranking, articles=tuple(articles))


def _familiar(query: str, index: KnowledgeIndex) -> bool:
    """Whether the tenant's articles use the words of the message, so that it can belong to them.

    Without this, "and the weather?" would be answered with whatever was asked before it.
    """
    return all(index.knows(term) for term in terms(query))
