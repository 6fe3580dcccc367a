"""What was embedded a moment ago is not embedded again."""

from __future__ import annotations

import numpy as np
import pytest

from infra.inference.encoder import RECENT_MAX, Encoder, load_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


def test_a_text_is_recalled_exactly_as_it_was_encoded(encoder: Encoder) -> None:
    encoded = encoder.encode(["where is my card", "hello"]).embeddings
    recalled = encoder.recall([" hello ", "where is my card"])
    assert recalled is not None
    assert np.array_equal(recalled, encoded[[1, 0]])


def test_one_unknown_text_makes_all_of_them_unknown(encoder: Encoder) -> None:
    encoder.encode(["known"])
    assert encoder.recall(["known", "never seen before"]) is None
    assert encoder.recall([]) is None


def test_the_oldest_are_forgotten(encoder: Encoder) -> None:
    encoder.encode(["the oldest of all"])
    encoder._remember([f"t{n}" for n in range(RECENT_MAX)], np.zeros((RECENT_MAX, 384), np.float32))
    assert encoder.recall(["the oldest of all"]) is None
