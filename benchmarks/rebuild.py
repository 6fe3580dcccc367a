"""Builds Redis and ClickHouse anew from a log of a million events, each by its own process.

`python -m benchmarks.rebuild [--events N]`. The time is that from the start of the process until
its group has committed the end of every partition; texts are sealed, and opened on their way.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import redis
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Assigned
from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.commands import TENANT, Seal, whole_conversation
from benchmarks.processes import running
from infra.keys import open_sealer
from infra.local.logs import tail
from infra.schema_registry import SchemaRegistry
from infra.settings import load_settings
from parley.sending import Sending
from processors.conversation.decide import decide
from processors.conversation.policy import Policy
from processors.conversation.state import new_conversation
from schemas.envelope import Sealed
from schemas.topics import EVENTS, conversation_key
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

MONTH = "2026-11"
PERSON = "p-1"
GIVE_UP_S = 1200.0
WORDS = "why has my card not arrived yet "


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What building one copy took. `memory_mb` is the process's, resident at its end."""

    copy: str
    events: int
    seconds: float
    memory_mb: float

    @property
    def per_s(self) -> float:
        return self.events / self.seconds


def seal_with(folder: Path) -> Seal:
    """Seals texts so that the processes of this data folder can open them."""
    sealer = open_sealer(load_settings(folder).keys)
    subject = sealer.identify(TENANT, PERSON, MONTH).subject

    def seal(conversation: str, origin_id: str, field: str, size_bytes: int) -> Sealed:
        return sealer.seal(
            (WORDS * (size_bytes // len(WORDS) + 1))[:size_bytes],
            tenant_id=TENANT,
            conversation_id=conversation,
            subject=subject,
            origin_id=origin_id,
            field=field,
            month=MONTH,
        )

    return seal


def fill(addresses: dict[str, str], events: int, seal: Seal) -> int:
    """Writes the events of whole conversations, as the conversation stage would."""
    wire = TopicWire(EVENTS, SchemaRegistry(addresses["registry"]))
    out = Sending(KafkaOptions(addresses["kafka"], linger_ms=20))
    policy, written, number = Policy(), 0, 0
    while written < events:
        state = new_conversation(TENANT, f"c-{number}")
        number += 1
        key = conversation_key(TENANT, state.conversation_id)
        for command in whole_conversation(state.conversation_id, seal):
            decided, state = decide(state, command, time.time_ns() // 1000, policy)
            for event in decided:
                out.send(EVENTS.name, key, wire.encode(event))
            written += len(decided)
    out.finish()
    return written


def rebuild(addresses: dict[str, str], folder: Path, copy: str, events: int) -> Rebuild:
    """Lets the process of one copy loose on the log, until it has all of it."""
    arguments = {
        "redis": ("worker", "--stages", "redis"),
        "clickhouse": ("analytics", "--embedded"),
    }[copy]
    consumer = Consumer(
        {"bootstrap.servers": addresses["kafka"], "group.id": f"parley-{copy}", "log_level": 0}
    )
    partitions = [Assigned(EVENTS.name, p) for p in range(EVENTS.partitions)]
    ends = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions}
    began = time.monotonic()
    command = (sys.executable, "-m", "parley", *arguments, "--data", str(folder))
    log = folder / "bench.log"
    with running(command, log, env=_environment(addresses)) as process:
        while not _reached(consumer, partitions, ends):
            if process.poll() is not None or time.monotonic() - began > GIVE_UP_S:
                # The folder goes with this process.
                raise SystemExit(f"{copy} was not built; what its process said last:\n{tail(log)}")
            time.sleep(0.2)
        seconds = time.monotonic() - began
        memory_mb = psutil.Process(process.pid).memory_info().rss / 2**20
    consumer.close()
    return Rebuild(copy, events, round(seconds, 1), round(memory_mb))


def _reached(consumer: Consumer, partitions: list[Assigned], ends: dict[int, int]) -> bool:
    found = consumer.committed(partitions, timeout=10)
    return all(each.offset >= ends[each.partition] for each in found)


def _environment(addresses: dict[str, str]) -> dict[str, str]:
    return {
        "PARLEY_KAFKA__BOOTSTRAP_SERVERS": addresses["kafka"],
        "PARLEY_REGISTRY__URL": addresses["registry"],
        "PARLEY_REDIS__URL": addresses["redis"],
        "PARLEY_CLICKHOUSE__URL": "http://127.0.0.1:0",
    }


def main() -> None:
    """Fills the log, builds each copy, and prints what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("redis", "clickhouse"))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    found: list[Rebuild] = []
    with (
        console.status("starting Kafka, the registry and Redis") as status,
        fresh_broker() as addresses,
        tempfile.TemporaryDirectory(prefix="parley-bench-rebuild-") as name,
    ):
        folder = Path(name)
        status.update(f"writing {chosen.events:,} events")
        events = fill(addresses, chosen.events, seal_with(folder))
        for copy in ("redis", "clickhouse"):
            if chosen.only in (None, copy):
                status.update(f"building {copy}")
                found.append(rebuild(addresses, folder, copy, events))
        with redis.Redis.from_url(addresses["redis"]) as client:
            memory_mb = client.info("memory")["used_memory"] / 2**20
    if chosen.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    table = Table(title=f"built anew from {events:,} events")
    for heading in ("copy", "seconds", "events/s", "MB resident"):
        table.add_column(heading, justify="left" if heading == "copy" else "right")
    for each in found:
        row = (f"{each.seconds:.1f}", f"{each.per_s:,.0f}", f"{each.memory_mb:.0f}")
        table.add_row(each.copy, *row)
    console = Console()
    console.print(table)
    console.print(f"Redis itself holds {memory_mb:.0f} MB")


if __name__ == "__main__":
    main()
