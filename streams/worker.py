"""Puts stages under Faust's supervision: one agent and one source each, one process for all.

The first stage that fails ends the process with a non-zero status, and whoever supervises the
process starts a fresh one: a broken assignment is never patched up in place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faust
import mode

from infra.telemetry.metrics import Metrics
from streams.batch import Rewind
from streams.batch_source import BatchSource
from streams.kafka_options import KafkaOptions
from streams.stage import Stage

log = logging.getLogger(__name__)


class _WithoutKafka(faust.App.BootStrategy):  # type: ignore[misc]
    """The log is read and written through librdkafka; Faust's own clients stay at home."""

    enable_kafka = False
    enable_kafka_consumer = False
    enable_kafka_producer = False
    enable_web = False
    enable_sensors = False


class _App(faust.App):  # type: ignore[misc]
    BootStrategy = _WithoutKafka


@dataclass(frozen=True, slots=True)
class Reading:
    """How a stage reads: its consumer group, its topics, and the largest batch.

    `commits_late`: offsets wait for work that outlives its batch. `pace_ms`: after a batch of
    several records, the next one begins so much later than it at the earliest. `fetch`: consumer
    options of this stage, for one that would rather have much than have it at once.
    """

    stage: Stage
    group: str
    topics: tuple[str, ...]
    batch_max: int = 1000
    commits_late: bool = False
    pace_ms: int = 0
    fetch: Mapping[str, int] = field(default_factory=dict)


class Worker:
    """The stages of one process."""

    def __init__(
        self,
        name: str,
        readings: Sequence[Reading],
        options: KafkaOptions,
        folder: Path,
        metrics: Metrics | None = None,
    ) -> None:
        """`folder` is where Faust may put its own files; else it takes the working directory."""
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = metrics or Metrics()
        self._app = _App(
            name,
            broker="kafka://unused",
            datadir=folder / name,
            autodiscover=False,
            agent_supervisor=mode.CrashingSupervisor,
        )
        self.sources = {r.stage.name: self._add(r, options) for r in readings}

    def __repr__(self) -> str:
        return f"Worker({', '.join(self.sources)})"

    async def start(self) -> None:
        """Starts agents and sources."""
        await self._app.start()
        # Until this is said, Faust's channels hold everything back.
        self._app.flow_control.resume()
        for source in self.sources.values():
            await source.start()

    async def stop(self) -> None:
        """Lets the batches in flight end, gives the partitions up, and stops."""
        await asyncio.gather(*(source.stop() for source in self.sources.values()))
        await self._app.stop()

    async def failed(self) -> BaseException:
        """Waits until a stage fails, and returns why."""
        services: list[Any] = [self._app, *self.sources.values()]
        waits = [asyncio.ensure_future(s._crashed.wait()) for s in services]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        reasons = [s.crash_reason for s in services if s.crashed]
        return reasons[0] or RuntimeError("a stage ended without a reason")

    def _add(self, reading: Reading, options: KafkaOptions) -> BatchSource:
        stage = reading.stage
        channel = self._app.channel(maxsize=1)
        source = BatchSource(
            stage.name,
            {**options.for_consumer(reading.group), **reading.fetch},
            reading.topics,
            stage,
            deliver=lambda batch: channel.send(value=batch),
            batch_max=reading.batch_max,
            commits_late=reading.commits_late,
            pace_ms=reading.pace_ms,
            metrics=self._metrics,
        )
        self._app.agent(channel, name=f"parley.{stage.name}")(_handler(stage, source))
        return source


def _handler(stage: Stage, source: BatchSource) -> Any:
    async def handle_batches(batches: Any) -> None:
        async for batch in batches:
            try:
                await stage.handle(batch)
            except Rewind as again:
                source.settle(batch, again)
            except BaseException as error:
                # The source must hear of it, or it would wait for this batch for ever.
                source.settle(batch, error)
                raise
            else:
                source.settle(batch, None)

    return handle_batches
