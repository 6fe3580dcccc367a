"""The heads that ship, and the export that made them."""

import json
import shutil

import numpy as np
import onnxruntime as ort
import pytest

from infra.inference import grams
from infra.inference.artifacts import ArtifactMissing, ArtifactTampered
from infra.inference.head_export import LinearHead, OutOfScope, export
from infra.inference.heads import FOLDER, MANIFEST, load_heads


@pytest.fixture(scope="module")
def heads():
    return load_heads()


def score(heads, encoder, text):
    return heads.score(encoder.encode([text]))[0]


@pytest.mark.parametrize(
    ("text", "banking77"),
    [
        ("my new card has still not arrived in the post", "card_arrival"),
        ("How do I change my PIN?", "change_pin"),
        ("why was my card payment declined", "declined_card_payment"),
        ("somebody stole my wallet with the card in it", "lost_or_stolen_card"),
    ],
)
def test_a_banks_questions_get_their_intent(heads, encoder, text, banking77):
    assert score(heads, encoder, text).banking77.name == banking77


@pytest.mark.parametrize(
    ("text", "clinc150"),
    [("what will the weather be like tomorrow", "weather"), ("set an alarm for 7 am", "alarm")],
)
def test_general_requests_get_their_intent_and_are_in_scope(heads, encoder, text, clinc150):
    scores = score(heads, encoder, text)
    assert scores.clinc150.name == clinc150
    assert scores.scope.name == "in_scope"


def test_what_no_intent_covers_is_out_of_scope(heads, encoder):
    scores = score(heads, encoder, "which philosopher wrote about the shadows in a cave")
    assert scores.scope.name == "out_of_scope"
    assert scores.scope.confidence == scores.out_of_scope > 0.5


def test_praise_and_complaint_have_their_sentiment(heads, encoder):
    praise = score(heads, encoder, "Brilliant service, I love this, thank you so much!")
    complaint = score(heads, encoder, "This is terrible, the worst product, total waste of money.")
    assert (praise.sentiment.name, complaint.sentiment.name) == ("positive", "negative")
    assert praise.sentiment_score > 0.5 > -0.5 > complaint.sentiment_score


@pytest.mark.parametrize(
    "text", ["How do I change my PIN?", "what is the exchange rate today", "yes please"]
)
def test_a_plain_question_is_neutral(heads, encoder, text):
    assert score(heads, encoder, text).sentiment.name == "neutral"


def test_a_customer_who_blames_the_bank_is_negative(heads, encoder):
    text = "I am fed up with your app, it is terrible and your support is useless"
    assert score(heads, encoder, text).sentiment.name == "negative"


def test_insults_are_toxic_and_questions_are_not(heads, encoder):
    assert score(heads, encoder, "you are a stupid piece of shit").safety.name == "toxic"
    assert score(heads, encoder, "How do I change my PIN?").safety.name == "fine"


def test_a_text_gets_the_same_scores_alone_and_in_company(heads, encoder):
    texts = ["How do I change my PIN?", "", "book me a flight to Rome " * 8]
    together = heads.score(encoder.encode(texts))
    for row, text in enumerate(texts):
        alone = score(heads, encoder, text)
        assert alone.banking77.name == together[row].banking77.name
        assert alone.clinc150.confidence == pytest.approx(together[row].clinc150.confidence, 1e-3)


def test_no_texts_give_no_scores(heads, encoder):
    assert heads.score(encoder.encode([])) == []


def test_every_head_names_its_digest_and_all_are_small(heads):
    manifest = json.loads((FOLDER / MANIFEST).read_text())
    assert dict(heads.digests) == {
        name: entry["sha256"] for name, entry in manifest["heads"].items()
    }
    assert sum(path.stat().st_size for path in FOLDER.glob("*.onnx")) < 5_000_000


def test_the_figures_in_the_manifest_reach_their_bars():
    heads = json.loads((FOLDER / MANIFEST).read_text())["heads"]
    assert heads["banking77"]["metrics"]["BANKING77 intent accuracy"]["value"] >= 0.92
    assert heads["clinc150"]["metrics"]["CLINC150 intent accuracy in scope"]["value"] >= 0.94
    assert heads["clinc150"]["metrics"]["out-of-scope AUROC"]["value"] >= 0.94
    assert heads["sentiment"]["metrics"]["sentiment accuracy"]["value"] >= 0.88


def test_a_changed_head_is_refused(tmp_path):
    folder = tmp_path / "heads"
    shutil.copytree(FOLDER, folder)
    model = bytearray((folder / "sentiment.onnx").read_bytes())
    model[-200] ^= 1
    (folder / "sentiment.onnx").write_bytes(model)
    with pytest.raises(ArtifactTampered, match=r"sentiment\.onnx"):
        load_heads(folder)


def test_a_missing_head_or_manifest_is_said(tmp_path):
    with pytest.raises(ArtifactMissing, match=r"heads\.json"):
        load_heads(tmp_path)
    shutil.copytree(FOLDER, tmp_path / "heads")
    (tmp_path / "heads" / "clinc150.onnx").unlink()
    with pytest.raises(ArtifactMissing, match=r"clinc150\.onnx"):
        load_heads(tmp_path / "heads")


def random_head(chance, classes):
    def draw(*shape):
        return chance.normal(size=shape).astype(np.float32)

    return LinearHead(
        embedding=draw(384, classes),
        middle=draw(384, classes),
        grams=draw(grams.BUCKETS, classes),
        bias=draw(classes),
        middle_centre=draw(384),
    )


def test_an_exported_head_computes_what_its_weights_say():
    chance = np.random.default_rng(3)
    head = random_head(chance, 5)
    detector = OutOfScope(temperature=2.0, slope=3.0, intercept=1.5)
    model = export(head, "test", temperature=0.7, detector=detector)
    embedding, middle = chance.normal(size=(2, 4, 384)).astype(np.float32)
    rows = [np.array(row, np.int64) for row in ([1, 5, 8192], [], [7], [9, 10])]

    centred = middle - head.middle_centre
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    margins = embedding @ head.embedding + centred @ head.middle + head.bias
    for row, present in enumerate(rows):
        margins[row] += head.grams[present - 1].sum(axis=0) / max(1, len(present)) ** 0.5

    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = {"embedding": embedding, "middle": middle, "grams": grams.padded(rows)}
    probabilities, out_of_scope = session.run(None, inputs)
    # The weights are kept as float16.
    np.testing.assert_allclose(probabilities, softmax(margins / 0.7), atol=0.02)
    line = -softmax(margins / 2).max(axis=1) * 3 + 1.5
    np.testing.assert_allclose(out_of_scope, 1 / (1 + np.exp(-line)), atol=0.02)


def test_grams_are_distinct_buckets_of_pieces_and_pairs():
    found = grams.buckets([101, 7, 7, 9, 102])
    assert len(found) == 4  # 7, 9, 7-7, 7-9
    assert found.min() >= 1
    assert found.max() <= grams.BUCKETS
    assert grams.buckets([101, 102]).size == 0
    assert grams.padded([]).shape == (0, 1)
