"""Types and a word-counting embedding that the tests of answering share."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from processors.answering.dense import Vectors
from processors.answering.words import terms
from schemas.records import KnowledgeDocument

WIDTH = 512

Embed = Callable[[Sequence[str]], Vectors]
Write = Callable[..., KnowledgeDocument]


def count_words(texts: Sequence[str]) -> Vectors:
    """Vectors of length one that are near where texts share terms, float32 [n, `WIDTH`]."""
    vectors = np.full((len(texts), WIDTH), 1e-4, np.float32)
    for row, text in enumerate(texts):
        for term in terms(text):
            vectors[row, zlib.crc32(term.encode()) % WIDTH] += 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
