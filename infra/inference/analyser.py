"""Everything that the models say about a text, in one pass of the encoder and its heads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from infra.inference.artifacts import ModelCache
from infra.inference.encoder import Encoder, load_encoder
from infra.inference.heads import Heads, Scores, load_heads
from infra.settings.behaviour import InferenceSettings
from infra.telemetry.metrics import Metrics
from schemas.parts import Inference

ENCODER = "all-MiniLM-L6-v2"


class Analyser:
    """Runs encoder and heads. Blocks; the GIL is released meanwhile."""

    def __init__(self, encoder: Encoder, heads: Heads, metrics: Metrics) -> None:
        self._encoder = encoder
        self._heads = heads
        self._metrics = metrics

    def infer(self, texts: Sequence[str]) -> list[tuple[Inference, ...]]:
        """The verdicts on each text, in the order of the texts."""
        began = time.perf_counter()
        scores = self._heads.score(self._encoder.encode(texts))
        seconds = time.perf_counter() - began
        self._metrics.inference_seconds.labels(ENCODER).observe(seconds)
        self._metrics.inference_texts.labels(ENCODER).inc(len(texts))
        self._metrics.inference_batch.labels(ENCODER).observe(len(texts))
        latency_us = int(seconds * 1e6)
        embedding = Inference("embedding", "", 1.0, ENCODER, self._encoder.model_digest, latency_us)
        return [(embedding, *self._verdicts(each, latency_us)) for each in scores]

    def _verdicts(self, scores: Scores, latency_us: int) -> Iterator[Inference]:
        for task, head, label in (
            ("intent.banking77", "banking77", scores.banking77),
            ("intent.clinc150", "clinc150", scores.clinc150),
            ("out_of_scope", "clinc150", scores.scope),
            ("sentiment", "sentiment", scores.sentiment),
            ("safety", "toxicity", scores.safety),
        ):
            digest = self._heads.digests[head]
            yield Inference(task, label.name, label.confidence, head, digest, latency_us)


def configured_encoder(settings: InferenceSettings) -> Encoder:
    """The encoder as the settings ask for it. Raises as `load_encoder`."""
    return load_encoder(
        ModelCache(settings.model_cache),
        devices=settings.providers,
        threads=settings.threads,
        batch_tokens_max=settings.batch_tokens_max,
        sequence_tokens_max=settings.sequence_tokens_max,
    )


def load_models(encoder: Encoder, metrics: Metrics) -> Analyser:
    """The analyser on an encoder. Raises as `load_heads`."""
    return Analyser(encoder, load_heads(), metrics)
