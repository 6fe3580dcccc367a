"""Composes an answer of sentences that stand in the tenant's articles, and says what it cites.

Nothing is invented: every sentence but the opening line comes from a passage, and each paragraph
ends with the number of its source.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from processors.answering.chunking import HEADING, paragraphs, size
from processors.answering.retrieval import RankedArticle, RankedPassage, Ranking
from processors.answering.words import sentences, terms

ANSWER_WORDS_MAX = 90
EXTRA_WORDS_MAX = 45
_OVERLAP_MIN = 0.34
_NEAR_SCORE = 0.9
_OFFERED_MAX = 3


@dataclass(frozen=True, slots=True)
class CitedPassage:
    """A source of the answer. `marker` is the number in square brackets in the text."""

    marker: int
    document_id: str
    ordinal: int
    title: str
    url: str | None
    score: float


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    paragraph: int
    overlap: float


def compose(query: str, ranking: Ranking, *, sure: bool) -> tuple[str, tuple[CitedPassage, ...]]:
    """The answer to a question and its sources, for a ranking with at least one article."""
    wanted = set(terms(query))
    article = ranking.articles[0]
    main = article.passages[0]
    body = _excerpt(main, wanted, ANSWER_WORDS_MAX)
    opening = _opening(article.title, sure)
    parts = [opening, f"{body} [1]"]
    cited = [_cite(1, article, main)]
    extra = _extra(ranking, wanted, body)
    if extra is not None:
        source, passage, text = extra
        same = source.document_id == article.document_id and passage.ordinal == main.ordinal
        marker = 1 if same else 2
        parts.append(f"{text} [{marker}]")
        if not same:
            cited.append(_cite(marker, source, passage))
    return "\n\n".join(parts), tuple(cited)


def decline(ranking: Ranking, topics: Sequence[str], *, near: bool) -> str:
    """Says that the answer is not known, and what could be asked instead."""
    text = "I am sorry, I could not find an answer to that in our help articles."
    if near:
        titles = " or ".join(f"“{item.title}”" for item in ranking.articles[:_OFFERED_MAX])
        return f"{text} Did you mean {titles}? You can also put the question in other words."
    if topics:
        return (
            f"{text} I can help with questions about {_listed(topics)}. "
            "You can also put your question in other words."
        )
    return f"{text} You can put your question in other words."


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _opening(title: str, sure: bool) -> str:
    if sure:
        return f"Here is what our article “{title}” says:"
    return f"I think our article “{title}” comes closest:"


def _cite(marker: int, article: RankedArticle, passage: RankedPassage) -> CitedPassage:
    return CitedPassage(
        marker, article.document_id, passage.ordinal, article.title, article.url, article.score
    )


def _split(passage: RankedPassage, wanted: Collection[str]) -> list[_Sentence]:
    found = []
    blocks = [block for block in paragraphs(passage.text) if not block.startswith(HEADING)]
    for number, block in enumerate(blocks):
        for sentence in sentences(block):
            shared = len(set(terms(sentence)).intersection(wanted))
            found.append(_Sentence(sentence, number, shared / len(wanted) if wanted else 0.0))
    return found


def _excerpt(passage: RankedPassage, wanted: Collection[str], words_max: int) -> str:
    """The run of whole sentences that shares most with the question, within `words_max`."""
    found = _split(passage, wanted)
    best: tuple[float, int, int] = (-1.0, 0, 1)
    for start in range(len(found)):
        length, overlap = 0, 0.0
        for end in range(start, len(found)):
            length += size(found[end].text)
            if length > words_max and end > start:
                break
            overlap += found[end].overlap
            # Equal runs: the earlier one, because articles say the main thing first.
            value = overlap + 0.002 * length
            if value > best[0] + 1e-9:
                best = (value, start, end + 1)
    return _joined(found[best[1] : best[2]])


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
    ranking: Ranking, wanted: Collection[str], said: str
) -> tuple[RankedArticle, RankedPassage, str] | None:
    """A run of sentences from elsewhere that answers what the first excerpt leaves open."""
    covered = set(terms(said))
    missing = [term for term in wanted if term not in covered]
    if not missing:
        return None
    best: tuple[float, RankedArticle, RankedPassage, str] | None = None
    for article in ranking.articles:
        if article.score < _NEAR_SCORE * ranking.articles[0].score:
            break
        for passage in article.passages:
            text = _excerpt(passage, missing, EXTRA_WORDS_MAX)
            found = set(terms(text))
            value = sum(term in found for term in missing) / len(wanted)
            if value >= _OVERLAP_MIN and text not in said and (best is None or value > best[0]):
                best = (value, article, passage, text)
    return None if best is None else best[1:]
