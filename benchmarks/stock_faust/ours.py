"""`ours.py CASE KAFKA REGISTRY IN OUT MARK FOLDER`: the same copying as a stage of this engine."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.stock_faust.cases import CASES, OUT_OF_ORDER, RAISES, SLOW_S, TAKE, UNLUCKY, Case
from benchmarks.stock_faust.said import topic
from infra.keys import open_sealer
from infra.schema_registry import SchemaRegistry
from infra.settings import load_settings
from infra.telemetry.metrics import Metrics
from schemas.topics import DEAD_LETTERS
from schemas.wire import TopicWire
from sinks.port import Delivery, TopicPartition
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.kafka_options import KafkaOptions
from streams.transactional_stage import Output, TransactionalStage
from streams.transactions import Transactions
from streams.worker import Reading, Worker


class Copy:
    """Sends every record on, and is as unlucky as the other side (`Transform`)."""

    def __init__(self, case: Case, sink: TopicWire, mark: Path) -> None:
        self._case = case
        self._sink = sink
        self._mark = mark

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Keeps nothing."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Keeps nothing."""

    def wake_at_us(self) -> int | None:
        return None

    def committed(self, changes: Any) -> None:
        """Keeps nothing."""

    def apply(
        self, records: Mapping[TopicPartition, Iterable[Delivery]], now_us: int, out: Output
    ) -> None:
        for delivery in (d for batch in records.values() for d in batch):
            self._meet(delivery.record.number)
            key = f"demo:{delivery.record.number}".encode()
            out.send(self._sink.topic.name, key, self._sink.encode(delivery.record))

    def _meet(self, number: int) -> None:
        if number != UNLUCKY or self._mark.exists():
            return
        self._mark.touch()
        if self._case in (RAISES, TAKE):
            raise RuntimeError("a service was away")
        if self._case is OUT_OF_ORDER:
            time.sleep(SLOW_S)


async def run(arguments: Sequence[str]) -> int:
    """Runs until a signal; 1 if the stage failed, and then a supervisor would start it again."""
    case_name, kafka, registry, source_name, sink_name, mark, folder = arguments
    case = next(case for case in CASES if case.name == case_name)
    ids = SchemaRegistry(registry)
    options = KafkaOptions(kafka)
    wires = [TopicWire(topic(name), ids) for name in (source_name, sink_name)]
    metrics = Metrics()
    sealer = open_sealer(load_settings(Path(folder)).keys)
    letters = DeadLetters("copy", TopicWire(DEAD_LETTERS, ids), sealer, metrics)
    stage = TransactionalStage(
        "copy",
        Decoder(wires[:1]),
        Copy(case, wires[1], Path(mark)),
        Transactions(source_name, options),
        letters,
        metrics,
    )
    reading = Reading(stage, f"ours-{source_name}", (source_name,), batch_max=10)
    worker = Worker("copy", [reading], options, Path(folder) / "faust")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await worker.start()
    failed = asyncio.ensure_future(worker.failed())
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    await worker.stop()
    return 1 if failed.done() else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1:])))
