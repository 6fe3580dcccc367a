"""Writes trained heads and their manifest into the folder that ships with Parley."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.inference.artifacts import MODEL_NAME, WEIGHTS_SHA256
from infra.inference.heads import FOLDER, MANIFEST, NAMES
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
        "labels": head.labels,
    }


def write(heads: Sequence[TrainedHead], seed: int, folder: Path = FOLDER) -> int:
    """Writes the heads, and the manifest last; heads that were not trained now stay.

    Returns the size of all models in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    entries = json.loads(path.read_text("utf-8"))["heads"] if path.is_file() else {}
    for head in heads:
        (folder / f"{head.name}.onnx").write_bytes(head.model)
        entries[head.name] = _entry(head)
    manifest = {
        "encoder": {"name": MODEL_NAME, "sha256": WEIGHTS_SHA256},
        "seed": seed,
        "heads": {name: entries[name] for name in NAMES if name in entries},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return sum(model.stat().st_size for model in folder.glob("*.onnx"))
