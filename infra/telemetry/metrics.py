"""Every metric of every process: name, help, unit and labels in one place.

Labels hold words from closed lists (stages, models, outcomes) and tenants up to a cap; never
conversations, people or text.
"""

from __future__ import annotations

import threading

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

_HOP = (0.001, 0.002, 0.004, 0.006, 0.008, 0.012, 0.02, 0.035, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 10)
_MODEL = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2)
_ANSWER = (0.02, 0.04, 0.06, 0.08, 0.12, 0.2, 0.35, 0.6, 1, 2, 4, 8, 15, 30, 60)
_SIZE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
OTHER = "other"


class TenantLabels:
    """Lets the first `most` tenants have a label of their own; the rest share `other`.

    A caller with many tenants would otherwise make a time series of each, for ever.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, tenant_id: str) -> str:
        """The label of a tenant."""
        if tenant_id in self._known:
            return tenant_id
        with self._lock:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(tenant_id)
        return tenant_id


class Metrics:
    """The metrics of one process, in a registry of its own.

    `metrics.tenant(tenant_id)` gives the label for every metric that has a `tenant`.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, tenants_max: int = 200
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self.tenant = TenantLabels(tenants_max)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._add_stages()
        self._add_models()
        self._add_answers()
        self._add_gateway()
        self._add_sinks()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"parley_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"parley_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"parley_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _add_stages(self) -> None:
        self.records = self._counter("records_total", "Records handled, in records", "stage")
        self.lag = self._gauge(
            "lag_records", "Records not yet handled, in records", "stage", "topic", "partition"
        )
        self.committed = self._gauge(
            "committed_offset", "Next offset to read after a restart", "stage", "topic", "partition"
        )
        self.last_commit = self._gauge(
            "last_commit_timestamp_seconds",
            "Time of the last commit, in seconds since 1970",
            "stage",
        )
        self.batch_seconds = self._histogram(
            "batch_seconds",
            "From the first record of a batch to its commit, in seconds",
            _HOP,
            "stage",
        )
        self.batch_records = self._histogram(
            "batch_records", "Size of batches, in records", _SIZE, "stage"
        )
        self.commit_seconds = self._histogram(
            "commit_seconds", "Flush and commit of a transaction, in seconds", _HOP, "stage"
        )
        self.dead_letters = self._counter(
            "dead_letters_total", "Records that could not be handled", "stage", "reason"
        )
        self.aborted = self._counter(
            "aborted_batches_total",
            "Batches that had no effect and are read again",
            "stage",
            "reason",
        )
        self.restore_seconds = self._histogram(
            "restore_seconds", "Restoring the state of a partition, in seconds", _ANSWER, "stage"
        )
        self.partitions = self._gauge("assigned_partitions", "Partitions held", "stage")
        self.dependency_up = self._gauge(
            "dependency_up", "1 if the dependency answers, 0 if not", "dependency"
        )

    def _add_models(self) -> None:
        self.inference_seconds = self._histogram(
            "inference_seconds", "One run of a model, in seconds", _MODEL, "model"
        )
        self.inference_texts = self._counter(
            "inference_texts_total", "Texts that went through a model", "model"
        )
        self.inference_batch = self._histogram(
            "inference_batch_texts", "Texts in one run of a model", _SIZE, "model"
        )

    def _add_answers(self) -> None:
        self.first_token_seconds = self._histogram(
            "first_token_seconds",
            "From the start of a turn to the first token of its answer, in seconds",
            _ANSWER,
            "tenant",
            "model",
        )
        self.turn_seconds = self._histogram(
            "turn_seconds",
            "From a message to the end of its turn as the log dates them, in seconds",
            _ANSWER,
            "tenant",
            "outcome",
        )
        self.degraded = self._counter(
            "degraded_answers_total", "Answers that fell back by one step", "tenant", "step"
        )
        self.cost_usd = self._counter(
            "cost_usd_total", "Price of model calls, in US dollars", "tenant", "model", "stage"
        )
        self.tokens = self._counter(
            "tokens_total", "Tokens in and out of models", "tenant", "model", "stage", "direction"
        )
        self.open_turns = self._gauge("open_turns", "Turns being answered or waiting for room")
        self.rejected = self._counter(
            "rejected_commands_total", "Commands that the conversation refused", "tenant", "code"
        )

    def _add_gateway(self) -> None:
        self.connections = self._gauge("gateway_connections", "Open sockets and streams", "kind")
        self.subscriptions = self._gauge("gateway_subscriptions", "Conversations subscribed to")
        self.frames_in = self._counter("gateway_frames_in_total", "Frames received", "kind")
        self.frames_out = self._counter("gateway_frames_out_total", "Frames sent", "kind")
        self.refused = self._counter("gateway_refused_total", "Frames refused", "code")
        self.closed = self._counter("gateway_closed_total", "Connections closed", "code")
        self.send_seconds = self._histogram(
            "gateway_send_seconds",
            "From a send frame to Kafka's acknowledgement, in seconds",
            _HOP,
        )
        self.resumes = self._counter(
            "gateway_resumes_total", "Subscriptions by how they began", "kind"
        )
        self.slow_clients = self._counter(
            "gateway_slow_clients_total", "Clients that were caught up from Redis"
        )

    def _add_sinks(self) -> None:
        self.rows = self._counter("sink_rows_total", "Rows or views written", "sink", "table")
        self.sink_delay_seconds = self._histogram(
            "sink_delay_seconds",
            "From the time of the oldest record of a write to its projection, in seconds",
            _ANSWER,
            "sink",
        )
        self.skipped = self._counter(
            "sink_skipped_total",
            "Events not applied again, or refused for a gap",
            "sink",
            "reason",
        )
