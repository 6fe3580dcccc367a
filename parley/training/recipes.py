"""How each head is made: what it learns from, how it is measured, what is shipped.

Each is measured on texts it never saw; then it is fitted again, in the same way, on all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split

from infra.inference.head_export import OutOfScope, export
from parley.training import corpora
from parley.training.features import Encoded, joined
from parley.training.figures import Bar, Figure
from parley.training.fitting import Fitted, Recipe, fit_binary, fit_classes, fit_labels, temperature

Encode = Callable[[tuple[str, ...]], Encoded]

HELD_OUT = 0.2
FOLDS = 5
NEUTRAL_WEIGHT = 0.07
# At most this share of questions in scope is called out of scope.
DECLINED_IN_SCOPE = 0.05
_TEMPERATURES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A head ready to be written: the ONNX model, and what the manifest says of it."""

    name: str
    model: bytes
    labels: tuple[str, ...]
    trained_on: str
    split: str
    figures: tuple[Figure, ...]


def _places(labels: tuple[str, ...], truth: NDArray[np.str_]) -> NDArray[np.int64]:
    place = {label: number for number, label in enumerate(labels)}
    return np.array([place[label] for label in truth], np.int64)


def _accuracy(margins: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    return float((margins.argmax(axis=1) == truth).mean())


def banking77(data: Path, encode: Encode, seed: int) -> TrainedHead:
    corpus = corpora.banking77(data)
    encoded = encode(corpus.texts)
    recipe = Recipe(strength=1.0, grams_weight=1.0, seed=seed)
    seen, unseen = train_test_split(
        np.arange(len(corpus)), test_size=HELD_OUT, stratify=corpus.labels, random_state=seed
    )
    measured = fit_labels(encoded[seen], corpus.labels[seen], recipe)
    margins = measured.margins(encoded[unseen])
    truth = _places(measured.labels, corpus.labels[unseen])
    shipped = fit_labels(encoded, corpus.labels, recipe)
    return TrainedHead(
        name="banking77",
        model=export(shipped.weights(), "banking77", temperature=temperature(margins, truth)),
        labels=shipped.labels,
        trained_on="BANKING77 train (PolyAI, CC BY 4.0)",
        split=f"stratified {HELD_OUT:.0%} of the deduplicated rows held out, seed {seed}",
        figures=(
            Figure("BANKING77 intent accuracy", _accuracy(margins, truth), len(truth), Bar(0.92)),
        ),
    )


def _top(margins: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    top: NDArray[np.float64] = -softmax(margins / t, axis=1).max(axis=1)
    return top


def _auroc(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def _detector(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> OutOfScope:
    """Fits the out-of-scope detector on margins of unseen texts.

    Its probability is shifted so that 0.5 is where `DECLINED_IN_SCOPE` are declined. Compared on
    CLINC150 (AUROC): largest softmax 0.974, energy 0.971, largest margin 0.971.
    """
    best = max(_TEMPERATURES, key=lambda t: _auroc(_top(inside, t), _top(outside, t)))
    scores = np.concatenate([_top(inside, best), _top(outside, best)])[:, None]
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    line = LogisticRegression(C=100.0, class_weight="balanced").fit(scores, truth)
    limit = float(np.quantile(_top(inside, best), 1 - DECLINED_IN_SCOPE))
    slope = float(line.coef_[0, 0])
    return OutOfScope(best, slope, -slope * limit)


def clinc150(data: Path, encode: Encode, seed: int) -> TrainedHead:
    train, unseen = corpora.clinc150(data, "train"), corpora.clinc150(data, "val")
    known = set(train.texts)
    fresh = np.array([text not in known for text in unseen.texts])
    x_train, x_unseen = encode(train.texts), encode(unseen.texts)
    fit_outside = encode(corpora.clinc150(data, "oos_train").texts)
    test_outside = encode(corpora.clinc150(data, "oos_val").texts)
    recipe = Recipe(strength=1.0, grams_weight=1.0, seed=seed)

    measured = fit_labels(x_train, train.labels, recipe)
    margins = measured.margins(x_unseen)
    truth = _places(measured.labels, unseen.labels)
    # The detector is fitted on every second unseen question and measured on the others.
    odd = np.arange(len(unseen)) % 2 == 1
    detector = _detector(margins[odd], measured.margins(fit_outside))
    inside, outside = (
        _top(part, detector.temperature)
        for part in (margins[~odd & fresh], measured.margins(test_outside))
    )
    caught = expit(outside * detector.slope + detector.intercept) >= 0.5
    shipped = fit_labels(
        joined(x_train, x_unseen), np.concatenate([train.labels, unseen.labels]), recipe
    )
    model = export(
        shipped.weights(),
        "clinc150",
        temperature=temperature(margins[odd], truth[odd]),
        detector=detector,
    )
    right = _accuracy(margins[fresh], truth[fresh])
    return TrainedHead(
        name="clinc150",
        model=model,
        labels=shipped.labels,
        trained_on="CLINC150 train, val, oos_train (Larson et al. 2019, CC BY 3.0)",
        split="accuracy on val; out-of-scope on every second of val and all of oos_val",
        figures=(
            Figure("CLINC150 intent accuracy in scope", right, int(fresh.sum()), Bar(0.94)),
            Figure(
                "out-of-scope AUROC",
                _auroc(inside, outside),
                len(inside) + len(outside),
                Bar(0.94),
            ),
            Figure(
                f"  caught, at {DECLINED_IN_SCOPE:.0%} of those in scope",
                float(caught.mean()),
                len(caught),
            ),
        ),
    )


def _unseen_probabilities(
    encoded: Encoded, positive: NDArray[np.bool_], label: str, recipe: Recipe
) -> NDArray[np.float64]:
    """The probability of each text by a head that was fitted on the other folds."""
    probabilities = np.empty(len(encoded))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=recipe.seed)
    for seen, unseen in folds.split(positive, positive):
        fold = fit_binary(encoded[seen], positive[seen], label, recipe)
        probabilities[unseen] = expit(fold.margins(encoded[unseen])[:, 0])
    return probabilities


def _binary(
    corpus: corpora.Corpus, encode: Encode, label: str, recipe: Recipe
) -> tuple[Fitted, NDArray[np.float64], NDArray[np.bool_]]:
    encoded = encode(corpus.texts)
    positive = corpus.labels == label
    probabilities = _unseen_probabilities(encoded, positive, label, recipe)
    return fit_binary(encoded, positive, label, recipe), probabilities, positive


def sentiment(data: Path, encode: Encode, seed: int) -> TrainedHead:
    """Reviews teach praise and blame; factual questions teach what is neither.

    Without them 84 % of BANKING77 sounds negative. They weigh little, or angry customers
    would be neutral because they sound like a bank's customers.
    """
    reviews, questions = corpora.sentiment(data), corpora.factual(data, seed)
    encoded = joined(encode(reviews.texts), encode(questions.texts))
    labels = np.concatenate([reviews.labels, questions.labels])
    weights = np.where(labels == "neutral", NEUTRAL_WEIGHT, 1.0)
    recipe = Recipe(strength=1.0, grams_weight=1.0, seed=seed)
    right = np.empty(len(labels), bool)
    same_side = np.empty(len(labels), bool)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for seen, unseen in folds.split(labels, labels):
        fold = fit_classes(encoded[seen], labels[seen], weights[seen], recipe)
        margins = fold.margins(encoded[unseen])
        right[unseen] = margins.argmax(axis=1) == _places(fold.labels, labels[unseen])
        negative, positive = margins[:, 0], margins[:, 2]
        same_side[unseen] = (positive > negative) == (labels[unseen] == "positive")
    shipped = fit_classes(encoded, labels, weights, recipe)
    opinions = labels != "neutral"
    return TrainedHead(
        name="sentiment",
        model=export(shipped.weights(), "sentiment"),
        labels=shipped.labels,
        trained_on=(
            "Amazon and Yelp review sentences (Kotzias et al. 2015, CC BY 4.0); as neutral texts, "
            "BANKING77 (CC BY 4.0) and CLINC150 (CC BY 3.0)"
        ),
        split=f"{FOLDS} folds over the deduplicated rows, seed {seed}",
        figures=(
            Figure("sentiment accuracy", _share(right[opinions]), len(reviews), Bar(0.88)),
            Figure("  positive or negative alone", _share(same_side[opinions]), len(reviews)),
            Figure("  factual questions called neutral", _share(right[~opinions]), len(questions)),
        ),
    )


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean())


def toxicity(data: Path, encode: Encode, seed: int) -> TrainedHead:
    recipe = Recipe(strength=3.0, grams_weight=2.0, seed=seed)
    shipped, p, positive = _binary(corpora.toxicity(data), encode, "toxic", recipe)
    right = (p >= 0.5) == positive
    return TrainedHead(
        name="toxicity",
        model=export(shipped.weights(), "toxicity"),
        labels=("toxic",),
        trained_on="Surge AI toxicity; Davidson et al. 2017 (both MIT)",
        split=f"{FOLDS} folds over the deduplicated rows, seed {seed}",
        figures=(Figure("toxicity accuracy", float(right.mean()), len(right)),),
    )


RECIPES: dict[str, Callable[[Path, Encode, int], TrainedHead]] = {
    "banking77": banking77,
    "clinc150": clinc150,
    "sentiment": sentiment,
    "toxicity": toxicity,
}
