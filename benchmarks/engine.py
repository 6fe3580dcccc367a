"""Measures the conversation stage on a real broker: throughput on one core, and one hop.

Throughput: commands wait on their topic; the worker that folds them is pinned to one core. Each
command is decoded, decided against the conversation's state and encoded as events; state, snapshot
changelog and offsets change in one transaction per batch. What counts is the time in which a
`read_committed` consumer gets the events, from the first transaction's end to the last one's, and
what the first one brought does not count.

Latency: one command at a time, from `produce` until a `read_committed` consumer has its event.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Assigned

from benchmarks.commands import WORKLOADS, submit
from benchmarks.reading import committed_reader
from benchmarks.workers import worker
from infra.schema_registry import SchemaRegistry
from parley.sending import Sending
from schemas.headers import command_headers
from schemas.topics import COMMANDS, EVENTS, key_of
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions
from streams.messages import at_hand

PATIENCE_S = 300.0
FIRST_S = 0.1
"""All of a transaction's events come within that time, once it has ended."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one workload gave: these events, of so many commands, came within `seconds`."""

    workload: str
    commands: int
    events: int
    seconds: float

    @property
    def commands_per_s(self) -> float:
        return self.commands / self.seconds


@dataclass(frozen=True, slots=True)
class Hop:
    """Milliseconds from producing a command to having its event."""

    p50: float
    p95: float
    p99: float


def measure_throughput(
    addresses: dict[str, str], workload: str, conversations: int, core: int | None
) -> Throughput:
    """Fills the commands topic, then lets one worker loose on it."""
    before = _ends(addresses)
    commands = _fill(addresses, workload, conversations)
    wanted = WORKLOADS[workload][1] * conversations
    with worker(addresses, core):
        counted, seconds = _await_events(addresses, before, wanted)
    return Throughput(workload, round(commands * counted / wanted), counted, seconds)


def measure_hop(addresses: dict[str, str], count: int) -> Hop:
    """Sends one command after the other; the first ones, which warm up, do not count."""
    options = KafkaOptions(addresses["kafka"])
    wire = TopicWire(COMMANDS, SchemaRegistry(addresses["registry"]))
    producer = Producer(options.for_producer())
    with worker(addresses, None):
        consumer = _reader(addresses, _ends(addresses))
        times = [_one_hop(producer, consumer, wire, n) for n in range(count + 20)][20:]
        consumer.close()
    times.sort()
    return Hop(
        statistics.median(times), times[int(len(times) * 0.95)], times[int(len(times) * 0.99)]
    )


def _one_hop(producer: Producer, consumer: Consumer, wire: TopicWire, number: int) -> float:
    command = submit(f"hop-{time.time_ns()}-{number}", 0)
    key = key_of(command)
    value = wire.encode(command)
    began = time.perf_counter()
    producer.produce(COMMANDS.name, value, key)
    producer.poll(0)
    while True:
        message = consumer.poll(30)
        if message is None:
            raise RuntimeError("no event came within 30 s")
        if message.error() is None and message.key() == key:
            break
    took = (time.perf_counter() - began) * 1000
    producer.flush(5)
    return took


def _fill(addresses: dict[str, str], workload: str, conversations: int) -> int:
    compressed = {"compression.type": "lz4"}
    out = Sending(KafkaOptions(addresses["kafka"], producer=compressed, linger_ms=20))
    wire = TopicWire(COMMANDS, SchemaRegistry(addresses["registry"]))
    of_conversation = WORKLOADS[workload][0]
    run = f"{time.time_ns():x}"
    streams = [of_conversation(f"c{run}-{n}") for n in range(conversations)]
    count = 0
    # One command of each conversation in turn, as they come when many people talk at once.
    for step in zip(*streams, strict=True):
        for command in step:
            headers = command_headers(type(command), command.envelope, b"/bench")
            out.send(COMMANDS.name, key_of(command), wire.encode(command), headers)
            count += 1
    out.finish()
    return count


def _await_events(
    addresses: dict[str, str], before: dict[int, int], wanted: int
) -> tuple[int, float]:
    """How many of the wanted events came after the first transaction's, and in how many seconds."""
    consumer = _reader(addresses, before)
    came = uncounted = 0
    began = now = 0.0
    first_until = math.inf
    give_up_at = time.monotonic() + PATIENCE_S
    while came < wanted:
        messages = at_hand(consumer, 100_000, 0.1)
        now = time.monotonic()
        if now > give_up_at:
            raise RuntimeError(f"{came} of {wanted} events came in {PATIENCE_S:.0f} s")
        if not messages:
            continue
        came += sum(m.error() is None for m in messages)
        first_until = min(first_until, now + FIRST_S)
        if now <= first_until:
            began, uncounted = now, came
    consumer.close()
    return came - uncounted, now - began


def _reader(addresses: dict[str, str], starts: dict[int, int]) -> Consumer:
    return committed_reader(KafkaOptions(addresses["kafka"]), EVENTS.name, starts)


def _ends(addresses: dict[str, str]) -> dict[int, int]:
    probe = Consumer(KafkaOptions(addresses["kafka"]).for_reader(committed=False))
    ends = {
        p: probe.get_watermark_offsets(Assigned(EVENTS.name, p), timeout=10)[1]
        for p in range(EVENTS.partitions)
    }
    probe.close()
    return ends


def as_row(result: Throughput) -> dict[str, Any]:
    """For JSON."""
    return {**asdict(result), "commands_per_s": round(result.commands_per_s)}
