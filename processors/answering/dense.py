"""Cosine similarity between a question and everything a tenant's articles hold."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def from_bytes(blobs: Sequence[bytes]) -> Vectors:
    """Stacks stored embeddings into float32 [n, width].

    Raises `ValueError` where the widths differ, which means that two models were mixed.
    """
    if not blobs:
        return np.zeros((0, 0), np.float32)
    if len({len(blob) for blob in blobs}) > 1 or len(blobs[0]) % 4:
        raise ValueError(
            f"embeddings of {sorted({len(blob) for blob in blobs})} bytes in one document: "
            "import the document again, with one model"
        )
    # The copy makes the array writable memory of ours, in the machine's own byte order.
    return np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1).astype(np.float32)


def to_bytes(vector: Vectors) -> bytes:
    """One embedding as little-endian float32."""
    return vector.astype("<f4").tobytes()


def cosines(vectors: Vectors, query: Vectors) -> Vectors:
    """Cosine of every row of [n, width] with `query` [width], all of length one; float32 [n]."""
    if not len(vectors):
        return np.zeros(0, np.float32)
    result: Vectors = vectors @ query
    return result


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows belong together: groups of consecutive rows, some perhaps empty.

    `sizes` and `starts` (the first row of each) are int64 [groups], `owners` int64 [rows].
    """

    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    owners: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[Sized]) -> Groups:
        """One group for each part, as many rows as the part has."""
        sizes = np.array([len(part) for part in parts], np.int64)
        return cls(sizes, np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes))

    def best(self, scores: Vectors, depth: int = 1) -> Vectors:
        """Mean of the best `depth` scores in each group, or of all where a group has fewer.

        A group without rows gets 0. Takes float32 [rows] and returns float32 [groups].
        """
        means = np.zeros(len(self.sizes), np.float32)
        filled = self.sizes > 0
        if not filled.any():
            return means
        starts, sizes = self.starts[filled], self.sizes[filled]
        if depth == 1:
            means[filled] = np.maximum.reduceat(scores, starts)
            return means
        ordered = scores[np.lexsort((-scores, self.owners))]
        sums = np.zeros(len(starts), np.float32)
        for rank in range(depth):
            sums += ordered[np.minimum(starts + rank, len(scores) - 1)] * (sizes > rank)
        means[filled] = sums / np.minimum(sizes, depth)
        return means
