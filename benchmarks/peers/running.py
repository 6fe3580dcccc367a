"""Lets a contender do the work on a core of its own, and says what that took."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer

from benchmarks.peers.contenders import Contender
from benchmarks.peers.work import PARTITIONS, Folded, job, prepared, said, sink_of, topic_of
from benchmarks.processes import Process, running
from benchmarks.reading import committed_reader
from infra.schema_registry import SchemaRegistry
from schemas.topics import key_of
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

GIVE_UP_S = 300.0
WARM_UP = 300
"""Records of a latency run, after the first events came, that do not count: a JVM is compiling."""
CONVERSATIONS_LIGHT = 50


@dataclass(frozen=True, slots=True)
class Run:
    """One run: records, the seconds that their events took to appear, and processor time."""

    contender: str
    records: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time a record, in microseconds."""
        return self.cpu_s / self.records * 1e6


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from producing a record until a `read_committed` reader has its event."""

    p50: float
    p95: float
    p99: float


class Course:
    """A broker with the input on it, a folder for what contenders leave behind, and their cores."""

    def __init__(
        self, addresses: dict[str, str], source: str, folder: Path, cores: Sequence[int]
    ) -> None:
        self._addresses = addresses
        self._source = source
        self._folder = folder
        self._cores = cores
        self._names = (f"run-{number}" for number in count())

    def throughput(self, contender: Contender, records: int, workers: int = 1) -> Run:
        """Works off the first `records` of the input, with as many processes on as many cores."""
        name = next(self._names)
        wanted = int(records * contender.share)
        with self._at_work(contender, name, self._source, workers) as processes:
            return self._followed(contender.name, sink_of(name), wanted, processes)

    def latency(self, contender: Contender, per_s: float, records: int) -> Latency:
        """Sends records at an even pace to one who has nothing else to do."""
        name = next(self._names)
        light = f"light-{name}"
        wire = prepared(self._addresses, light)
        with self._at_work(contender, name, light, 1) as processes:
            reader = self._reader(sink_of(name))
            folded = TopicWire(
                topic_of(sink_of(name), Folded), SchemaRegistry(self._addresses["registry"])
            )
            pace = _Pace(self._options, wire, folded, reader, processes)
            times = pace.times_ms(per_s, records)
            reader.close()
        cuts = statistics.quantiles(times, n=100)
        return Latency(statistics.median(times), cuts[94], cuts[98])

    @property
    def _options(self) -> KafkaOptions:
        return KafkaOptions(self._addresses["kafka"])

    @contextmanager
    def _at_work(
        self, contender: Contender, name: str, source: str, workers: int
    ) -> Iterator[list[Process]]:
        file = job(self._addresses, source, name, self._folder)
        log = self._folder / f"{name}.log"
        with ExitStack() as stack:
            argv = contender.argv(file)
            cores = self._cores[:workers]
            processes = [stack.enter_context(running(argv, log, core=core)) for core in cores]
            try:
                yield processes
            except TimeoutError:
                last = log.read_text(errors="replace")[-2000:]
                raise SystemExit(f"{contender.name} did not do its work:\n{last}") from None

    def _reader(self, topic: str) -> Consumer:
        return committed_reader(self._options, topic, dict.fromkeys(range(PARTITIONS), 0))

    def _followed(
        self, contender: str, topic: str, wanted: int, processes: Sequence[Process]
    ) -> Run:
        consumer = self._reader(topic)
        stamps: list[int] = []
        began_cpu, began_at = 0.0, 0
        give_up_at = time.monotonic() + GIVE_UP_S
        while len(stamps) < wanted:
            _check(processes, give_up_at)
            before = len(stamps)
            stamps += [m.timestamp()[1] for m in consumer.consume(10_000, 0.2) if m.error() is None]
            if not before and stamps:
                began_cpu, began_at = _cpu_s(processes), len(stamps)
        ended_cpu = _cpu_s(processes)
        consumer.close()
        seconds = (max(stamps) - min(stamps)) / 1000
        # What was there at the first look had cost processor time before it.
        share = len(stamps) / max(1, len(stamps) - began_at)
        return Run(contender, len(stamps), seconds, (ended_cpu - began_cpu) * share)


class _Pace:
    """Produces records one by one and takes the time until each one's event can be read."""

    def __init__(
        self,
        options: KafkaOptions,
        said: TopicWire,
        folded: TopicWire,
        reader: Consumer,
        processes: Sequence[Process],
    ) -> None:
        self._producer = Producer(options.for_producer())
        self._said = said
        self._folded = folded
        self._reader = reader
        self._processes = processes

    def times_ms(self, per_s: float, records: int) -> list[float]:
        """The time of each record but the first ones, in milliseconds."""
        sent: list[float] = []
        took: dict[int, float] = {}
        # Before the first events a contender starts, joins its group and restores.
        total, give_up_at = sys.maxsize, time.monotonic() + GIVE_UP_S
        began = time.perf_counter()
        while len(took) < total:
            _check(self._processes, give_up_at)
            due = began + len(sent) / per_s if len(sent) < total else time.perf_counter() + 0.2
            message = self._reader.poll(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            if message is not None and message.error() is None:
                number = self._folded.decode(message.value()).number
                took.setdefault(number, (now - sent[number]) * 1000)
                if total == sys.maxsize and len(took) == len(sent):
                    total = len(sent) + WARM_UP + records
                    give_up_at = time.monotonic() + GIVE_UP_S + (WARM_UP + records) / per_s
            elif len(sent) < total and now >= due:
                sent.append(now)
                self._send(len(sent) - 1)
        return [took[number] for number in range(total - records, total)]

    def _send(self, number: int) -> None:
        record = said(number, CONVERSATIONS_LIGHT)
        self._producer.produce(self._said.topic.name, self._said.encode(record), key_of(record))
        self._producer.poll(0)


def _check(processes: Sequence[Process], give_up_at: float) -> None:
    if time.monotonic() > give_up_at or any(each.poll() is not None for each in processes):
        raise TimeoutError


def _cpu_s(processes: Sequence[Process]) -> float:
    found = [psutil.Process(each.pid) for each in processes]
    times = [p.cpu_times() for each in found for p in (each, *each.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))
