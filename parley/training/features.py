"""Turns encoded texts into the matrix that linear heads are fitted on.

The same sums are done at run time by the graph of `infra.inference.head_export`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, vstack  # type: ignore[import-untyped]

from infra.inference.encoder import Encoder, Encoding
from infra.inference.grams import BUCKETS
from infra.inference.minilm import HIDDEN

# How much each part counts against the others under one regularisation, by cross-validation.
EMBEDDING_WEIGHT = 1.2
MIDDLE_WEIGHT = 0.8

_CHUNK = 256

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """n texts: `embedding`, `middle` float32 [n, 384]; `grams` a sparse 0/1 matrix [n, 8192]."""

    embedding: NDArray[np.float32]
    middle: NDArray[np.float32]
    grams: csr_matrix

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, rows: NDArray[np.int64]) -> "Encoded":
        return Encoded(self.embedding[rows], self.middle[rows], self.grams[rows])


def _present(encoding: Encoding) -> csr_matrix:
    rows, places = np.nonzero(encoding.grams)
    columns = encoding.grams[rows, places] - 1
    ones = np.ones(len(rows), np.float32)
    return csr_matrix((ones, (rows, columns)), shape=(len(encoding), BUCKETS))


def encode(encoder: Encoder, texts: Sequence[str], advance: Advance) -> Encoded:
    """Encodes all texts; `advance` hears how many more are done."""
    parts: list[Encoding] = []
    for start in range(0, len(texts), _CHUNK):
        parts.append(encoder.encode(texts[start : start + _CHUNK]))
        advance(len(parts[-1]))
    return Encoded(
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.middle for part in parts]),
        _stacked(parts),
    )


def _stacked(parts: Sequence[Encoding]) -> csr_matrix:
    return csr_matrix(vstack([_present(part) for part in parts]))


def joined(first: Encoded, second: Encoded) -> Encoded:
    """The rows of both, the first one's first."""
    return Encoded(
        np.concatenate([first.embedding, second.embedding]),
        np.concatenate([first.middle, second.middle]),
        csr_matrix(vstack([first.grams, second.grams])),
    )


def matrix(encoded: Encoded, centre: NDArray[np.float32], grams_weight: float) -> csr_matrix:
    """[n, 384 + 384 + 8192]: the embedding, the centred middle, the buckets, each weighted."""
    middle = encoded.middle - centre
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    counts = np.maximum(np.asarray(encoded.grams.sum(axis=1)).ravel(), 1)
    buckets = encoded.grams.multiply((grams_weight / np.sqrt(counts))[:, None])
    dense = np.hstack([encoded.embedding * EMBEDDING_WEIGHT, middle * MIDDLE_WEIGHT])
    assert dense.shape[1] == 2 * HIDDEN
    return csr_matrix(hstack([csr_matrix(dense), buckets]))
