"""Cosine similarity between a question and everything a tenant's articles hold."""

from __future__ import annotations

from collections.abc import Sequence

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


def best_of_groups(scores: Vectors, groups: Sequence[slice], depth: int) -> Vectors:
    """Mean of the best `depth` scores in each group, or of all where a group has fewer.

    A group without scores gets 0. Returns float32 [len(groups)].
    """
    means = np.zeros(len(groups), np.float32)
    for number, group in enumerate(groups):
        members = scores[group]
        if len(members) > depth:
            members = np.partition(members, -depth)[-depth:]
        if len(members):
            means[number] = members.mean()
    return means
