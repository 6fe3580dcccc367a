"""What was embedded a moment ago is not embedded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from infra.inference.encoder import Encoder, load_encoder
from infra.inference.heads import load_heads
from infra.inference.recent import RECENT_MAX, EncodedText, RecentTexts, digest

NOTHING = EncodedText(
    np.zeros(384, np.float32), np.zeros(384, np.float32), np.zeros(0, np.int64), 2, False
)


@pytest.fixture(scope="module")
def shared() -> Encoder:
    return load_encoder()


@pytest.fixture
def encoder(shared: Encoder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Encoder]:
    """An encoder that remembers nothing yet."""
    monkeypatch.setattr(shared, "_recent", RecentTexts())
    return shared


@pytest.fixture
def runs(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each run of the model had."""
    counted: list[int] = []
    run = encoder._run

    def counting(tokens: Sequence[Any], width: int) -> Any:
        counted.append(len(tokens))
        return run(tokens, width)

    monkeypatch.setattr(encoder, "_run", counting)
    return counted


def test_a_text_is_recalled_exactly_as_it_was_encoded(encoder: Encoder) -> None:
    encoded = encoder.encode(["where is my card", "hello"]).embeddings
    recalled = encoder.recall([" hello ", "where is\n my  card"])
    assert recalled is not None
    assert np.array_equal(recalled, encoded[[1, 0]])


def test_one_unknown_text_makes_all_of_them_unknown(encoder: Encoder) -> None:
    encoder.encode(["known"])
    assert encoder.recall(["known", "never seen before"]) is None
    assert encoder.recall([]) is None


def test_the_same_text_is_run_once(encoder: Encoder, runs: list[int]) -> None:
    first = encoder.encode(["hello", "where is my card", "hello "])
    assert runs == [2]
    assert np.array_equal(first.embeddings[0], first.embeddings[2])
    again = encoder.encode(["where is my card", "hello", "something else"])
    assert runs == [2, 1]
    assert np.array_equal(again.embeddings[:2], first.embeddings[[1, 0]])


def test_all_that_the_heads_need_is_remembered(encoder: Encoder, runs: list[int]) -> None:
    texts = ["I lost my card in town " * 40, "hello", "¿dónde está mi tarjeta?", ""]
    first = encoder.encode(texts)
    again = encoder.encode(texts)
    assert sum(runs) == len(texts)
    for field in ("embeddings", "middle", "grams", "token_counts", "truncated"):
        assert np.array_equal(getattr(first, field), getattr(again, field))
    heads = load_heads()
    assert heads.score(first) == heads.score(again)


@pytest.mark.parametrize("odd", ["a\x1cb", "a\u00a0b", "a\u2003b", "a\x00b", "a\u200bb"])
def test_texts_that_the_model_may_tell_apart_are_not_taken_for_one(
    odd: str, encoder: Encoder
) -> None:
    encoder.encode([odd])
    assert encoder.recall([odd]) is not None
    assert encoder.recall(["a b"]) is None
    assert encoder.recall(["ab"]) is None


@pytest.mark.parametrize("blanks", [" ", "  ", "\n", "\r\n", "\t", " \n\n\t "])
def test_blanks_that_count_as_one_are_one_to_the_tokenizer(encoder: Encoder, blanks: str) -> None:
    tokenizer = encoder._tokenizer
    spaced = tokenizer.encode(f"my{blanks}card, again{blanks}!")
    assert spaced.ids == tokenizer.encode("my card, again !").ids


def test_no_text_is_kept(encoder: Encoder) -> None:
    encoder.encode(["a sentence that nobody may find again"])
    assert "nobody" not in repr(vars(encoder._recent))


def test_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    recent = RecentTexts()
    recent.remember({digest("oldest"): NOTHING, digest("asked for"): NOTHING})
    assert recent.find([digest("asked for")])
    recent.remember({digest(f"t{number}"): NOTHING for number in range(RECENT_MAX - 1)})
    assert len(recent) == RECENT_MAX
    assert not recent.find([digest("oldest")])
    assert recent.find([digest("asked for")])


def test_threads_may_share_it(encoder: Encoder) -> None:
    texts = [f"question {number % 7}" for number in range(40)]
    expected = encoder.encode(texts).embeddings
    encoder._recent = RecentTexts()
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: encoder.encode(texts).embeddings, range(8)):
            np.testing.assert_allclose(found, expected, atol=2e-6)
