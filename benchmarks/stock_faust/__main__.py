"""`python -m benchmarks.stock_faust`: runs every case on both sides and prints what was lost."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Assigned
from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.stock_faust.cases import CASES, Case
from benchmarks.stock_faust.said import Said, topic
from infra.kafka_admin import apply_topics
from infra.schema_registry import SchemaRegistry
from parley.sending import Sending
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

WAIT_S = 20.0
"""For the first process; the slow record of one case outlasts it."""
SETTLED_S = 90.0
THEIRS, OURS = "stock Faust", "this engine"
START = {THEIRS: "benchmarks.stock_faust.theirs", OURS: "benchmarks.stock_faust.ours"}
GROUP = {THEIRS: "stock-{}", OURS: "ours-{}"}


@dataclass(frozen=True, slots=True)
class Loss:
    """What one side made of one case."""

    case: str
    side: str
    records: int
    arrived: int
    lost: int
    doubled: int


class Field:
    """A broker with two topics for one run of a case."""

    def __init__(self, addresses: dict[str, str], folder: Path, case: Case, side: str) -> None:
        name = f"{CASES.index(case)}-{side.split()[0]}"
        self.source, self.sink = f"in-{name}", f"out-{name}"
        self._addresses = addresses
        self._folder = folder / name
        self._folder.mkdir()
        self._case = case
        self._side = side
        topics = [topic(self.source), topic(self.sink)]
        apply_topics(addresses["kafka"], {}, topics)
        registry = SchemaRegistry(addresses["registry"])
        registry.register(topics)
        self._wire = TopicWire(topics[0], registry)

    def fill(self) -> None:
        """Puts the input into the log."""
        out = Sending(KafkaOptions(self._addresses["kafka"]))
        for number in range(self._case.records):
            record = Said("demo", str(number), number)
            out.send(self.source, f"demo:{number}".encode(), self._wire.encode(record))
        out.finish()

    def start(self) -> subprocess.Popen[bytes]:
        """One process of this side."""
        kafka, registry = self._addresses["kafka"], self._addresses["registry"]
        mark, folder = str(self._folder / "mark"), str(self._folder)
        between = (registry,) if self._side == OURS else ()
        after = (folder,) if self._side == OURS else ()
        arguments = (self._case.name, kafka, *between, self.source, self.sink, mark, *after)
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", START[self._side], *arguments], stdout=log, stderr=log
            )

    def acknowledged(self) -> int:
        """The committed offset of this side's group."""
        group = GROUP[self._side].format(self.source)
        consumer = Consumer({"bootstrap.servers": self._addresses["kafka"], "group.id": group})
        try:
            return max(0, consumer.committed([Assigned(self.source, 0)], timeout=10)[0].offset)
        except KafkaException:
            return 0  # nobody has joined the group yet
        finally:
            consumer.close()

    def numbers(self) -> list[int]:
        """The records that arrived, in order."""
        options = KafkaOptions(self._addresses["kafka"]).for_reader(committed=True)
        consumer = Consumer({**options, "group.id": f"count-{self.sink}"})
        consumer.assign([Assigned(self.sink, 0, 0)])
        found: list[int] = []
        while True:
            for message in consumer.consume(5000, 2.0):
                error = message.error()
                if error is None:
                    found.append(self._wire.decode(message.value() or b"").number)
                elif error.code() == KafkaError._PARTITION_EOF:
                    consumer.close()
                    return found
                elif not error.retriable():
                    raise KafkaException(error)


def measure(addresses: dict[str, str], folder: Path, case: Case, side: str) -> Loss:
    """Runs one case on one side: a first process meets the fault, further ones finish the work."""
    field = Field(addresses, folder, case, side)
    field.fill()
    process = field.start()
    _until(partial(_is_over, field, process, case.stop_at), WAIT_S)
    if case.pause_s:
        before = field.acknowledged()
        _pause(addresses["kafka"], case.pause_s)
        _until(lambda: field.acknowledged() > before, WAIT_S)
    _end(process, case.stop)
    give_up_at = time.monotonic() + SETTLED_S
    while field.acknowledged() < case.records and time.monotonic() < give_up_at:
        process = field.start()
        _until(partial(_is_over, field, process, case.records), SETTLED_S)
        _end(process, signal.SIGTERM)
    numbers = field.numbers()
    arrived = set(numbers)
    # On one partition a record's number is its offset.
    lost = len(set(range(field.acknowledged())) - arrived)
    return Loss(case.name, side, case.records, len(arrived), lost, len(numbers) - len(arrived))


def _is_over(field: Field, process: subprocess.Popen[bytes], records: int) -> bool:
    return process.poll() is not None or field.acknowledged() >= records


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def _pause(kafka: str, pause_s: float) -> None:
    port = int(kafka.rpartition(":")[2])
    listening = [
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid
    ]
    broker = psutil.Process(listening[0])
    broker.suspend()
    time.sleep(pause_s)
    broker.resume()


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stock_faust", description=__doc__)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    results = []
    with (
        console.status("starting Kafka and the registry") as status,
        fresh_broker() as addresses,
        tempfile.TemporaryDirectory(prefix="parley-bench-faust-") as folder,
    ):
        for case in CASES:
            if chosen.case and case.name not in chosen.case:
                continue
            for side in (THEIRS, OURS):
                status.update(f"{case.name}: {side}")
                results.append(measure(addresses, Path(folder), case, side))
    if chosen.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    table = Table("what goes wrong", "side", header_style="bold", border_style="dim")
    for title in ("records", "lost", "doubled"):
        table.add_column(title, justify="right")
    for result in results:
        style = "bold red" if result.lost or result.doubled else "green"
        cells = (f"{result.records:,}", f"{result.lost:,}", f"{result.doubled:,}")
        table.add_row(result.case, result.side, *cells, style=style)
    Console().print(table)


if __name__ == "__main__":
    main()
