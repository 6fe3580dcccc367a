"""Reads the labelled texts that heads learn from, without the duplicates that would leak."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Of Davidson's tweets, so many: the rest says the same things again.
DAVIDSON_ROWS = 4000
_NEITHER = "2"


class CorpusMissing(FileNotFoundError):
    """The folder of public data is not there, or lacks a file."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts and the label of each."""

    texts: tuple[str, ...]
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.texts)


def _corpus(rows: Iterable[tuple[str, str]]) -> Corpus:
    """Keeps the first of texts that differ in nothing but spaces and capitals."""
    unique: dict[str, tuple[str, str]] = {}
    for text, label in rows:
        unique.setdefault(" ".join(text.lower().split()), (text.strip(), label))
    texts, labels = zip(*unique.values(), strict=True)
    return Corpus(texts, np.array(labels))


def _path(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise CorpusMissing(f"{path} is missing: name the folder of public data with --data")
    return path


def _table(folder: Path, name: str) -> list[dict[str, str]]:
    with _path(folder, name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def banking77(folder: Path) -> Corpus:
    """Customers' questions to a bank, 77 intents."""
    return _corpus((row["text"], row["category"]) for row in _table(folder, "banking77/train.csv"))


def clinc150(folder: Path, part: str) -> Corpus:
    """150 intents in ten domains; `part` is `train`, `val`, `oos_train` or `oos_val`."""
    path = _path(folder, "clinc150/train_val.json")
    return _corpus((text, label) for text, label in json.loads(path.read_text("utf-8"))[part])


def sentiment(folder: Path) -> Corpus:
    """Sentences of product and restaurant reviews: `positive` or `negative`."""
    rows: list[tuple[str, str]] = []
    for shop in ("amazon_cells", "yelp"):
        text = _path(folder, f"sentiment/{shop}_labelled.txt").read_text("utf-8")
        for line in text.split("\n"):
            sentence, _, mark = line.rpartition("\t")
            if sentence:
                rows.append((sentence, "positive" if mark.strip() == "1" else "negative"))
    return _corpus(rows)


def factual(folder: Path, seed: int) -> Corpus:
    """Questions and requests of BANKING77 and CLINC150, which praise and blame nobody."""
    chance = np.random.default_rng(seed)
    rows: list[tuple[str, str]] = []
    for corpus, count in ((banking77(folder), 1000), (clinc150(folder, "train"), 2000)):
        chosen = chance.permutation(len(corpus))[:count]
        rows += [(corpus.texts[place], "neutral") for place in chosen]
    return _corpus(rows)


def toxicity(folder: Path) -> Corpus:
    """Comments and tweets: `toxic` (hateful or offensive included) or `fine`."""
    comments = [
        (row["text"], "toxic" if row["is_toxic"] == "Toxic" else "fine")
        for row in _table(folder, "safety/surge_toxicity_en.csv")
    ]
    tweets = [
        (row["tweet"], "fine" if row["class"] == _NEITHER else "toxic")
        for row in _table(folder, "safety/davidson_labeled_data.csv")
    ]
    # Only one tweet in six is fine: take as many of each, from the beginning.
    for label in ("toxic", "fine"):
        comments += [row for row in tweets if row[1] == label][: DAVIDSON_ROWS // 2]
    return _corpus(comments)
