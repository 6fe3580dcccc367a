"""Hashed word pieces and their pairs: the wording of a text, which the embedding smooths over.

On BANKING77 they add one percentage point to what a linear head reaches on embeddings alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BUCKETS_BITS = 13
BUCKETS = 1 << BUCKETS_BITS

# Knuth's multiplicative hashing: the high bits of a product with 2**64 / golden ratio.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_PAIR_MULTIPLIER = np.uint64(1000003)
_PAIR_OFFSET = np.uint64(1 << 40)
_SHIFT = np.uint64(64 - BUCKETS_BITS)


def buckets(token_ids: Sequence[int]) -> NDArray[np.int64]:
    """The distinct buckets, from 1 to 8192, of a text's pieces and pairs; 0 is left for padding.

    `token_ids` come with [CLS] and [SEP] at the ends, which do not count.
    """
    pieces = np.array(token_ids[1:-1], np.uint64)
    pairs = pieces[:-1] * _PAIR_MULTIPLIER + pieces[1:] + _PAIR_OFFSET
    hashed = np.concatenate([pieces, pairs]) * _MULTIPLIER
    return np.unique(hashed >> _SHIFT).astype(np.int64) + 1


def padded(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The rows as one int64 matrix [n, longest], filled with 0; at least one column wide."""
    width = max((len(row) for row in rows), default=0)
    matrix = np.zeros((len(rows), max(width, 1)), np.int64)
    for place, row in enumerate(rows):
        matrix[place, : len(row)] = row
    return matrix
