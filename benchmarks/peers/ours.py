"""`ours.py JOB [--bare] [--batch N]`: the work as a `Transform` of this engine.

State is in memory, with its changelog.
As in production every event has CloudEvents headers and an id that follows from its cause, and a
record that was handled before has no effect; `--bare` leaves these out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.peers.avro import BATCH_MAX, LAST
from benchmarks.peers.work import Folded, Job, Memory, Said, topic_of
from infra.keys import open_sealer
from infra.schema_registry import SchemaRegistry
from infra.settings import load_settings
from infra.telemetry.metrics import Metrics
from parley.garbage import collect_rarely
from schemas.headers import Headers
from schemas.identifiers import derived_id
from schemas.makers import maker
from schemas.topics import DEAD_LETTERS
from schemas.wire import TopicWire
from sinks.port import Delivery, TopicPartition
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.kafka_options import KafkaOptions
from streams.restore import restore
from streams.state import Change, MemoryState, StateFormat
from streams.transactional_stage import Output, TransactionalStage
from streams.transactions import Transactions
from streams.worker import Reading, Worker

HANDLED_BYTES = 128 * 16
_folded, _memory = maker(Folded), maker(Memory)
_CONSTANT: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"parley.Folded"),
    ("ce_source", b"/bench"),
]


class Fold:
    """Folds what was said (`Transform`)."""

    def __init__(self, sink: TopicWire, log: TopicWire, options: KafkaOptions, bare: bool) -> None:
        self._sink = sink
        self._log = log
        self._options = options
        self._bare = bare
        self._format: StateFormat[Memory] = StateFormat(log.encode, log.decode, lambda state: None)
        self._states: dict[TopicPartition, MemoryState[Memory]] = {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        fresh = {p: MemoryState(self._format) for p in partitions}
        by_number = {p.partition: state for p, state in fresh.items()}
        restore(self._log.topic.name, by_number, self._options)
        self._states.update(fresh)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            del self._states[partition]

    def wake_at_us(self) -> int | None:
        return None

    def apply(
        self, records: Mapping[TopicPartition, Iterable[Delivery]], now_us: int, out: Output
    ) -> dict[TopicPartition, list[Change]]:
        return {p: self._fold(self._states[p], batch, out) for p, batch in records.items()}

    def committed(self, changes: Mapping[TopicPartition, list[Change]]) -> None:
        for partition, changed in changes.items():
            self._states[partition].apply(changed, None)

    def _fold(
        self, known: MemoryState[Memory], batch: Iterable[Delivery], out: Output
    ) -> list[Change]:
        dirty: dict[bytes, Memory] = {}
        name, encode = self._sink.topic.name, self._sink.encode
        for delivery in batch:
            said: Said = delivery.record
            tenant, conversation, key = said.tenant_id, said.conversation_id, delivery.key
            state = dirty.get(key) or known.get(key)
            count, last, handled = (
                (0, (), b"") if state is None else (state.count, state.last, state.handled)
            )
            headers: Headers | None = None
            if not self._bare:
                event_id = derived_id(tenant, conversation, str(said.number))
                entry = bytes.fromhex(event_id.replace("-", ""))
                if handled.rfind(entry) >= 0:
                    continue
                handled = (handled + entry)[-HANDLED_BYTES:]
                headers = [*_CONSTANT, ("ce_id", event_id.encode()), ("tenantid", tenant.encode())]
            last = (*last[1 - LAST :], said.text)
            event = _folded(tenant, conversation, said.number, count + 1, last)
            out.send(name, key, encode(event), headers)
            dirty[key] = _memory(tenant, conversation, count + 1, last, handled)
        changes = [Change(key, state, self._log.encode(state)) for key, state in dirty.items()]
        for change in changes:
            out.send(self._log.topic.name, change.key, change.encoded)
        return changes


async def run(job: Job, bare: bool, batch_max: int) -> None:
    """Runs until a signal."""
    ids = SchemaRegistry(job.registry)
    options = KafkaOptions(job.kafka)
    source = TopicWire(topic_of(job.source, Said), ids)
    sink = TopicWire(topic_of(job.sink, Folded), ids)
    log = TopicWire(topic_of(job.changelog, Memory), ids)
    metrics = Metrics()
    folder = Path(job.folder)
    letters = DeadLetters(
        "fold", TopicWire(DEAD_LETTERS, ids), open_sealer(load_settings(folder).keys), metrics
    )
    stage = TransactionalStage(
        "fold",
        Decoder([source]),
        Fold(sink, log, options, bare),
        Transactions(job.group, options),
        letters,
        metrics,
    )
    reading = Reading(stage, job.group, (job.source,), batch_max=batch_max)
    worker = Worker("fold", [reading], options, folder / "faust")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await worker.start()
    collect_rarely()  # as every process of ours does
    await stopping.wait()
    await worker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--batch", type=int, default=BATCH_MAX)
    chosen = parser.parse_args()
    described: dict[str, Any] = json.loads(chosen.job.read_text())
    uvloop.run(run(Job(**described), chosen.bare, chosen.batch))


if __name__ == "__main__":
    main()
