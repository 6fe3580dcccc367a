"""Takes over a partition of a million conversations: from the changelog, and from RocksDB's files.

`python -m benchmarks.restore [--conversations N]`. Each takeover is a process of its own, so that
its memory is its own as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import reduce
from multiprocessing import get_context
from pathlib import Path

from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.commands import whole_conversation
from infra.schema_registry import SchemaRegistry
from processors.conversation.decide import decide
from processors.conversation.policy import Policy
from processors.conversation.state import Conversation, new_conversation
from schemas.topics import CONVERSATIONS, conversation_key
from schemas.wire import TopicWire
from streams.conversation_stage import conversation_format
from streams.kafka_options import KafkaOptions
from streams.restore import restore
from streams.rocksdb_state import RocksState

NAME = "c-{number:07d}"


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a takeover took. `memory_mb` is the most that was resident."""

    source: str
    conversations: int
    seconds: float
    memory_mb: float


def snapshot() -> Conversation:
    """The state of a conversation of eight messages, each analysed and answered."""
    began = new_conversation("bench", NAME.format(number=0))

    def after(state: Conversation, command: object) -> Conversation:
        return decide(state, command, time.time_ns() // 1000, Policy())[1]  # type: ignore[arg-type]

    return reduce(after, whole_conversation(began.conversation_id), began)


def fill(addresses: dict[str, str], conversations: int) -> int:
    """Puts snapshots on one partition of the changelog. Returns the bytes of one."""
    wire = TopicWire(CONVERSATIONS, SchemaRegistry(addresses["registry"]))
    producer = Producer(KafkaOptions(addresses["kafka"], linger_ms=20).for_producer())
    state = snapshot()
    template = wire.encode(replace(state, conversation_id=NAME.format(number=0)))
    own = NAME.format(number=0).encode()
    for number in range(conversations):
        name = NAME.format(number=number)
        value = template.replace(own, name.encode())
        while True:
            try:
                producer.produce(CONVERSATIONS.name, value, conversation_key("bench", name), 0)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    return len(template)


def take_over(addresses: dict[str, str], folder: str, source: str, conversations: int) -> Takeover:
    """Opens the state and brings it up to the end of its changelog."""
    wire = TopicWire(CONVERSATIONS, SchemaRegistry(addresses["registry"]))
    began = time.perf_counter()
    state = RocksState(Path(folder), conversation_format(wire), "bench")
    restore(CONVERSATIONS.name, {0: state}, KafkaOptions(addresses["kafka"]))
    seconds = time.perf_counter() - began
    for number in (0, conversations // 2, conversations - 1):
        assert state.get(conversation_key("bench", NAME.format(number=number))) is not None
    state.close()
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Takeover(source, conversations, round(seconds, 2), round(memory_mb))


def main() -> None:
    """Fills, takes over twice, and prints what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restore", description=__doc__)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    found: list[Takeover] = []
    with (
        console.status("starting Kafka and the registry") as status,
        fresh_broker() as addresses,
        tempfile.TemporaryDirectory(prefix="parley-bench-restore-") as folder,
    ):
        status.update(f"writing {chosen.conversations:,} snapshots")
        size = fill(addresses, chosen.conversations)
        for source in ("the changelog", "its own files"):
            status.update(f"taking over from {source}")
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                at = (addresses, f"{folder}/state", source, chosen.conversations)
                found.append(fresh.submit(take_over, *at).result())
    if chosen.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    table = Table(title=f"{chosen.conversations:,} conversations of {size} bytes, one partition")
    for heading in ("from", "seconds", "MB resident"):
        table.add_column(heading, justify="left" if heading == "from" else "right")
    for each in found:
        table.add_row(each.source, f"{each.seconds:.1f}", f"{each.memory_mb:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
