"""BM25 over a few thousand short texts, held in numpy: no dependency, built in milliseconds.

Ready-made libraries were looked at: `rank-bm25` scores in Python loops, `bm25s` wants a corpus
that never changes, and neither keeps what was counted of the texts that stay the same when a
tenant replaces one article. So counting (`count`) and weighing (`Bm25`) are apart here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from processors.answering.words import terms

# The values of Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework", with less
# length normalisation because passages are cut to similar lengths.
K1 = 1.2
B = 0.6


@dataclass(frozen=True, slots=True)
class Counted:
    """Term counts of one text; kept, so that a rebuilt index counts new texts only."""

    counts: dict[str, int]
    length: int


def count(text: str) -> Counted:
    """Counts the search terms of a text."""
    found = terms(text)
    return Counted(dict(Counter(found)), len(found))


@dataclass(frozen=True, slots=True)
class _Postings:
    texts: NDArray[np.int32]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bm25:
    """An immutable index over n texts, numbered in the order given."""

    size: int
    _postings: dict[str, _Postings] = field(repr=False)
    _idf: dict[str, float] = field(repr=False)
    _idf_unknown: float = field(repr=False)

    @classmethod
    def build(cls, texts: Sequence[Counted]) -> Bm25:
        """Weighs the counts. The weight of a term in a text is at most `K1 + 1` times its idf."""
        lengths = np.array([text.length for text in texts], np.float32)
        mean = float(lengths.mean()) if len(texts) else 1.0
        norms = K1 * (1 - B + B * lengths / max(mean, 1.0))
        where: dict[str, list[int]] = defaultdict(list)
        how_often: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            for term, times in text.counts.items():
                where[term].append(number)
                how_often[term].append(times)
        postings, idf = {}, {}
        for term, numbers in where.items():
            ids = np.array(numbers, np.int32)
            counts = np.array(how_often[term], np.float32)
            idf[term] = float(np.log1p((len(texts) - len(ids) + 0.5) / (len(ids) + 0.5)))
            weights = idf[term] * counts * (K1 + 1) / (counts + norms[ids])
            postings[term] = _Postings(ids, weights.astype(np.float32))
        return cls(len(texts), postings, idf, float(np.log1p(2 * len(texts) + 1)))

    def idf(self, term: str) -> float:
        """The weight of a stemmed term; one that no text has weighs as much as the rarest."""
        return self._idf.get(term, self._idf_unknown)

    def knows(self, term: str) -> bool:
        """Whether any text has the stemmed term."""
        return term in self._idf

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every text, float32 [n], for stemmed query terms; 0 where none is shared."""
        total = np.zeros(self.size, np.float32)
        for term in set(query):
            if (found := self._postings.get(term)) is not None:
                total[found.texts] += found.weights
        return total
