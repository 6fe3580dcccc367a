"""Writes trained heads and their manifest into the folder that ships with Parley."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.inference.artifacts import WEIGHTS_SHA256
from infra.inference.heads import FOLDER, MANIFEST
from parley.training.recipes import TrainedHead


def _entry(head: TrainedHead) -> dict[str, Any]:
    return {
        "file": f"{head.name}.onnx",
        "sha256": hashlib.sha256(head.model).hexdigest(),
        "trained_on": head.trained_on,
        "split": head.split,
        "metrics": {
            figure.what.strip(): {"value": round(figure.share, 4), "texts": figure.questions}
            for figure in head.figures
        },
        "thresholds": head.thresholds,
        "labels": head.labels,
    }


def write(heads: Sequence[TrainedHead], seed: int, folder: Path = FOLDER) -> int:
    """Writes all heads; the manifest comes last. Returns the size of the models in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for head in heads:
        (folder / f"{head.name}.onnx").write_bytes(head.model)
    manifest = {
        "encoder": {"name": "all-MiniLM-L6-v2", "sha256": WEIGHTS_SHA256},
        "seed": seed,
        "heads": {head.name: _entry(head) for head in heads},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return sum(len(head.model) for head in heads)
