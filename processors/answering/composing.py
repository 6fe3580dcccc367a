"""Composes an answer of sentences that stand in the tenant's articles, and says what it cites.

Nothing is invented: every sentence but the first and the last comes from a passage, and each
part ends with the number of its source. The last line names articles that may fit better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from processors.answering.chunking import HEADING, paragraphs, size
from processors.answering.citing import CitedPassage
from processors.answering.expectations import Figure, expected, fulfilled
from processors.answering.retrieval import RankedArticle, RankedPassage, Ranking
from processors.answering.words import sentences, terms

ANSWER_WORDS_MAX = 90
# Who asks on has just read the rest.
FOLLOW_UP_WORDS_MAX = 30
EXTRA_WORDS_MAX = 45
# A second source must hold this share of the question's weight, from an article nearly as good.
_EXTRA_SHARE_MIN = 0.34
_EXTRA_SCORE_MIN = 0.85
_FIGURE_BONUS = 0.3
_FIGURE_PASSAGE_BONUS = 0.1
_LENGTH_BONUS = 0.004
# A run that begins in the middle of a paragraph may begin with "it" or "beyond that".
_OPENING_BONUS = 0.25
# With this bound an answer names 2.6 articles on average and loses none of the right ones.
_RELATED_SCORE_MIN = 0.7
_OFFERED_MAX = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an answer should contain: weighted terms, those of the part that asks, and figures."""

    weights: Mapping[str, float]
    asked: Mapping[str, float]
    figures: frozenset[Figure] = frozenset()

    @classmethod
    def by(cls, query: str, idf: Callable[[str], float], asked: str | None = None) -> Wanted:
        """Weighs the terms of a query so that they sum up to 1.

        `asked` is the part that asks, where an earlier question stands before it.
        """
        weights = _shares(query, idf)
        if asked is None or asked == query:
            return cls(weights, weights, expected(query))
        return cls(weights, _shares(asked, idf), expected(asked))

    @property
    def asks_on(self) -> bool:
        """Whether the question goes on from an earlier one."""
        return self.asked != self.weights

    def pointed(self) -> Wanted:
        """The part that asks, without what it goes on from."""
        return replace(self, weights=self.asked)

    def still_open(self, said: Sequence[_Sentence]) -> Wanted:
        """What sentences leave open of the part that asks."""
        found = _terms_of(said)
        left = {term: weight for term, weight in self.asked.items() if term not in found}
        return replace(self, weights=left)

    def share(self, found: frozenset[str]) -> float:
        """The weight of the terms that are among those found."""
        return sum([weight for term, weight in self.weights.items() if term in found])

    def value(self, sentence: _Sentence) -> float:
        """How much a sentence contributes."""
        shared = self.share(sentence.terms)
        return shared + _FIGURE_BONUS * fulfilled(sentence.text, self.figures)


def _shares(text: str, idf: Callable[[str], float]) -> dict[str, float]:
    weights = {term: idf(term) for term in terms(text)}
    total = sum(weights.values()) or 1.0
    return {term: weight / total for term, weight in weights.items()}


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    paragraph: int
    terms: frozenset[str]
    size: int


def _terms_of(found: Iterable[_Sentence]) -> frozenset[str]:
    return frozenset[str]().union(*(sentence.terms for sentence in found))


def compose(
    wanted: Wanted, ranking: Ranking, *, sure: bool
) -> tuple[str, tuple[CitedPassage, ...]]:
    """The answer to a question and its sources, for a ranking with at least one article."""
    article = ranking.articles[0]
    main = _main_passage(article, wanted)
    body = _body(_split(main.text), wanted)
    parts = [_opening(article.title, sure), f"{_joined(body)} [1]"]
    cited = [CitedPassage.of(1, main, article.score)]
    if (extra := _extra(ranking, wanted, body)) is not None:
        source, passage, text = extra
        if passage != main:
            cited.append(CitedPassage.of(2, passage, source.score))
        parts.append(f"{text} [{cited[-1].marker}]")
    named = {citation.document_id for citation in cited}
    others = [item for item in _near(ranking) if item.document_id not in named]
    if others:
        first = len(cited) + 1
        cited.extend(
            CitedPassage.of(marker, item.passages[0], item.score)
            for marker, item in enumerate(others, start=first)
        )
        titles = [f"“{item.title}” [{marker}]" for marker, item in enumerate(others, start=first)]
        parts.append(f"You may also want to read {' or '.join(titles)}.")
    return "\n\n".join(parts), tuple(cited)


def _near(ranking: Ranking) -> Sequence[RankedArticle]:
    """The first three articles, as far as they come near the best one."""
    least = _RELATED_SCORE_MIN * ranking.articles[0].score
    return [item for item in ranking.articles[:_OFFERED_MAX] if item.score >= least]


def decline(ranking: Ranking, topics: Sequence[str], *, near: bool) -> str:
    """Says that the answer is not known, and what could be asked instead."""
    text = "I am sorry, I could not find an answer to that in our help articles."
    if near:
        titles = " or ".join(f"“{item.title}”" for item in ranking.articles[:_OFFERED_MAX])
        return f"{text} Did you mean {titles}? You can also put the question in other words."
    if topics:
        return (
            f"{text} I can help with questions about {listed(topics)}. "
            "You can also put your question in other words."
        )
    return f"{text} You can put your question in other words."


def listed(items: Sequence[str]) -> str:
    """The items in a sentence: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _opening(title: str, sure: bool) -> str:
    if sure:
        return f"Here is what our article “{title}” says:"
    return f"I think our article “{title}” comes closest:"


def _main_passage(article: RankedArticle, wanted: Wanted) -> RankedPassage:
    def value(passage: RankedPassage) -> float:
        return passage.score + _FIGURE_PASSAGE_BONUS * fulfilled(passage.text, wanted.figures)

    return max(article.passages, key=value)


@lru_cache(maxsize=4096)
def _split(text: str) -> tuple[_Sentence, ...]:
    """The sentences of a passage. Kept, because passages are few and asked for again and again."""
    blocks = [block for block in paragraphs(text) if not block.startswith(HEADING)]
    return tuple(
        _Sentence(sentence, number, frozenset(terms(sentence)), size(sentence))
        for number, block in enumerate(blocks)
        for sentence in sentences(block)
    )


@lru_cache(maxsize=4096)
def _passage_terms(text: str) -> frozenset[str]:
    return _terms_of(_split(text))


def _body(found: Sequence[_Sentence], wanted: Wanted) -> Sequence[_Sentence]:
    if wanted.asks_on:
        return _excerpt(found, wanted.pointed(), FOLLOW_UP_WORDS_MAX)
    return _excerpt(found, wanted, ANSWER_WORDS_MAX)


def _excerpt(found: Sequence[_Sentence], wanted: Wanted, words_max: int) -> Sequence[_Sentence]:
    """The run of whole sentences that is worth most, within `words_max` words or one sentence."""
    values = [wanted.value(item) for item in found]
    best: tuple[float, Sequence[_Sentence]] = (-1.0, ())
    for start in range(len(found)):
        opens = start == 0 or found[start - 1].paragraph != found[start].paragraph
        length, value = 0, _OPENING_BONUS if opens else 0.0
        for end in range(start, len(found)):
            length += found[end].size
            if length > words_max and end > start:
                break
            value += values[end]
            # Of equal runs the earlier one stays, because articles say the main thing first.
            if value + _LENGTH_BONUS * length > best[0] + 1e-9:
                best = (value + _LENGTH_BONUS * length, found[start : end + 1])
    return best[1]


def _joined(found: Sequence[_Sentence]) -> str:
    text, previous = "", None
    for sentence in found:
        if previous is None:
            glue = ""
        elif sentence.paragraph != previous.paragraph:
            glue = "\n\n"
        else:
            glue = "\n" if sentence.text.startswith("- ") else " "
        text, previous = text + glue + sentence.text, sentence
    return text


def _extra(
    ranking: Ranking, wanted: Wanted, body: Sequence[_Sentence]
) -> tuple[RankedArticle, RankedPassage, str] | None:
    """A run of sentences from elsewhere that answers what the first excerpt leaves open."""
    left = wanted.still_open(body)
    said = {item.text for item in body}
    best: tuple[RankedArticle, RankedPassage, str] | None = None
    least = _EXTRA_SHARE_MIN
    for article in ranking.articles if left.weights else ():
        if article.score < _EXTRA_SCORE_MIN * ranking.articles[0].score:
            break
        for passage in article.passages:
            if left.share(_passage_terms(passage.text)) < least:
                continue  # not even all of it would be enough
            fresh = [item for item in _split(passage.text) if item.text not in said]
            chosen = _excerpt(fresh, left, EXTRA_WORDS_MAX)
            share = left.share(_terms_of(chosen))
            if share >= least and (best is None or share > least):
                best, least = (article, passage, _joined(chosen)), share
    return best
