"""The encoder against an independent reading of the same weights."""

import math

import numpy as np
import pytest

from infra.inference.artifacts import WEIGHTS_SHA256
from infra.inference.encoder import Device, DeviceUnavailable, load_encoder
from infra.inference.safetensors import Checkpoint, MalformedCheckpoint

TEXTS = (
    "I am still waiting on my card?",
    "hello",
    "",
    "Żółć, naïve café: 東京 🙂",
    "a much longer sentence that goes on and on about exchange rates and top ups " * 3,
)


@pytest.fixture(scope="module")
def weights(model_files):
    return Checkpoint(model_files.weights).read


def normalised(x, name, weights):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return scaled * weights(f"{name}.weight") + weights(f"{name}.bias")


def bert(ids, weights):
    """BERT in twenty lines of numpy: the hidden states after each layer, [t, 384] each."""
    x = weights("embeddings.word_embeddings.weight")[ids]
    x = x + weights("embeddings.position_embeddings.weight")[: len(ids)]
    x = x + weights("embeddings.token_type_embeddings.weight")[0]
    x = normalised(x, "embeddings.LayerNorm", weights)
    states = []
    for number in range(6):
        name = f"encoder.layer.{number}"

        def dense(y, part, name=name):
            return y @ weights(f"{name}.{part}.weight").T + weights(f"{name}.{part}.bias")

        q, k, v = (
            dense(x, f"attention.self.{part}").reshape(-1, 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(32))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(-1, 384)
        x = normalised(
            dense(mixed, "attention.output.dense") + x,
            f"{name}.attention.output.LayerNorm",
            weights,
        )
        wide = dense(x, "intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = normalised(dense(wide, "output.dense") + x, f"{name}.output.LayerNorm", weights)
        states.append(x)
    return states


def test_embeddings_equal_bert_computed_by_hand(encoder, weights):
    ids = [101, 1045, 2572, 2145, 3403, 2006, 2026, 4003, 1029, 102]  # TEXTS[0]
    states = bert(ids, weights)
    expected = states[-1].mean(axis=0)
    encoding = encoder.encode(TEXTS[:1])
    np.testing.assert_allclose(
        encoding.embeddings[0], expected / np.linalg.norm(expected), atol=2e-6
    )
    np.testing.assert_allclose(encoding.middle[0], states[3].mean(axis=0), atol=2e-5)


def test_a_text_gets_the_same_embedding_alone_and_in_company(encoder):
    together = encoder.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        alone = encoder.encode([text])
        np.testing.assert_allclose(alone.embeddings[0], together.embeddings[row], atol=2e-6)
        np.testing.assert_allclose(alone.middle[0], together.middle[row], atol=2e-5)


def test_embeddings_have_length_one_in_the_order_of_the_texts(encoder):
    forwards, backwards = encoder.encode(TEXTS), encoder.encode(TEXTS[::-1])
    np.testing.assert_allclose(np.linalg.norm(forwards.embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(forwards.embeddings, backwards.embeddings[::-1], atol=2e-6)
    assert forwards.embeddings.dtype == np.float32


def test_no_texts_give_an_empty_encoding(encoder):
    encoding = encoder.encode([])
    assert len(encoding) == 0
    assert encoding.embeddings.shape == (0, 384)


def test_long_text_is_cut_at_256_tokens_and_says_so(encoder):
    encoding = encoder.encode(["word " * 6000, " " * 32768 + "short", "a" * 32768])
    assert encoding.token_counts.tolist() == [256, 3, 3]
    assert encoding.truncated.tolist() == [True, False, True]


def test_many_texts_are_split_into_batches_and_put_together_again(encoder):
    texts = [f"message {number} " + "and more " * (number % 40) for number in range(60)]
    together = encoder.encode(texts)
    alone = encoder.encode(texts[37:38])
    np.testing.assert_allclose(together.embeddings[37], alone.embeddings[0], atol=2e-6)


def test_the_encoder_says_where_it_runs_and_what(encoder):
    assert encoder.device is Device.CPU
    assert encoder.model_digest == WEIGHTS_SHA256


def test_absent_devices_are_skipped_and_none_at_all_is_an_error():
    assert load_encoder(devices=["coreml", "cpu"]).device is Device.CPU
    with pytest.raises(DeviceUnavailable, match="coreml"):
        load_encoder(devices=["coreml"])


@pytest.mark.parametrize("content", [b"", b"garbage!" * 4, b"\x04\0\0\0\0\0\0\0nope"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(MalformedCheckpoint, match=r"model\.safetensors"):
        Checkpoint(path)
