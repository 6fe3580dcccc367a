"""The small linear heads: intent, out-of-scope, sentiment and toxicity of encoded texts.

Heads are ONNX files beside this module, listed in `heads.json` with their digests; nothing else
is needed at run time. How they are trained is left to `parley.training`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from infra.inference.artifacts import ArtifactMissing, ArtifactTampered
from infra.inference.encoder import Encoding, session_options

FOLDER = Path(__file__).parent / "heads"
MANIFEST = "heads.json"
NAMES = ("banking77", "clinc150", "sentiment", "toxicity")


@dataclass(frozen=True, slots=True)
class Label:
    """The verdict of a head; `confidence` is the label's own probability, 0 to 1."""

    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What the heads say of one text.

    Both label sets are recorded: `banking77` is the finer one for a bank, `clinc150` the general
    one. `scope` is `in_scope` or `out_of_scope`, of CLINC150's 150 intents; `sentiment` is
    `positive`, `neutral` or `negative`; `safety` is `fine` or `toxic`. `out_of_scope` and
    `toxicity` are probabilities, and `sentiment_score` is that of `positive` less `negative`.
    """

    banking77: Label
    clinc150: Label
    scope: Label
    sentiment: Label
    safety: Label
    out_of_scope: float
    sentiment_score: float
    toxicity: float


@dataclass(frozen=True, slots=True)
class _Head:
    """One head's session, labels and digest (SHA-256 of its file, hex)."""

    session: Any
    labels: tuple[str, ...]
    digest: str

    def run(self, encoding: Encoding) -> list[NDArray[np.float32]]:
        inputs = {
            "embedding": encoding.embeddings,
            "middle": encoding.middle,
            "grams": encoding.grams,
        }
        outputs: list[NDArray[np.float32]] = self.session.run(None, inputs)
        return outputs


def _load(folder: Path, name: str, entry: Mapping[str, Any]) -> _Head:
    path = folder / entry["file"]
    if not path.is_file():
        raise ArtifactMissing(f"the head {path} is missing: reinstall, or train it: make models")
    model = path.read_bytes()
    digest = hashlib.sha256(model).hexdigest()
    if digest != entry["sha256"]:
        raise ArtifactTampered(
            f"refusing to load the head {path}: its SHA-256 is {digest}, expected "
            f"{entry['sha256']} by {MANIFEST}. Restore both files, or train them: make models"
        )
    session = ort.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    return _Head(session, tuple(entry["labels"]), digest)


class Heads:
    """All heads. Build with `load_heads`; safe to share between threads.

    `digests` names the SHA-256 of each head, for the record of what inferred what.
    """

    def __init__(self, heads: Mapping[str, _Head]) -> None:
        self._heads = heads
        self.digests: Mapping[str, str] = MappingProxyType(
            {name: head.digest for name, head in heads.items()}
        )

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={digest[:12]}" for name, digest in self.digests.items())
        return f"Heads({listed})"

    def score(self, encoding: Encoding) -> list[Scores]:
        """One `Scores` for each text, in order; an empty encoding gives an empty list."""
        if not len(encoding):
            return []
        banking, clinc, sentiment, toxicity = (self._heads[name] for name in NAMES)
        banking_labels = _best(banking.labels, banking.run(encoding)[0])
        clinc_probabilities, out_of_scope = clinc.run(encoding)
        clinc_labels = _best(clinc.labels, clinc_probabilities)
        feelings = sentiment.run(encoding)[0]
        feeling_labels = _best(sentiment.labels, feelings)
        place = {label: column for column, label in enumerate(sentiment.labels)}
        feeling = feelings[:, place["positive"]] - feelings[:, place["negative"]]
        toxic = toxicity.run(encoding)[0][:, 0]
        return [
            Scores(
                banking77=banking_labels[row],
                clinc150=clinc_labels[row],
                scope=_either("out_of_scope", "in_scope", float(out_of_scope[row])),
                sentiment=feeling_labels[row],
                safety=_either("toxic", "fine", float(toxic[row])),
                out_of_scope=float(out_of_scope[row]),
                sentiment_score=float(feeling[row]),
                toxicity=float(toxic[row]),
            )
            for row in range(len(encoding))
        ]


def _best(labels: tuple[str, ...], probabilities: NDArray[np.float32]) -> list[Label]:
    best = probabilities.argmax(axis=1)
    return [Label(labels[i], float(row[i])) for i, row in zip(best, probabilities, strict=True)]


def _either(yes: str, no: str, probability: float) -> Label:
    return Label(yes, probability) if probability >= 0.5 else Label(no, 1 - probability)


def load_heads(folder: Path = FOLDER) -> Heads:
    """The heads that ship with Parley, or those of another folder.

    Raises `ArtifactMissing` and `ArtifactTampered`, as the model cache does.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactMissing(f"{path} is missing: reinstall, or train the heads: make models")
    entries = json.loads(path.read_text(encoding="utf-8"))["heads"]
    return Heads({name: _load(folder, name, entries[name]) for name in NAMES})
