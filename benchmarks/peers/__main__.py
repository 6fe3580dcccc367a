"""`python -m benchmarks.peers`: everybody does the same work, in turn; table, JSON and a plot."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Assigned
from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.peers import plot
from benchmarks.peers.environments import QUIX, python_with
from benchmarks.peers.work import PARTITIONS, fill, job
from streams.kafka_options import KafkaOptions

GIVE_UP_S = 300.0
SOURCE = "said"


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that does the work. `share` of the input is enough where it is slow."""

    name: str
    argv: Callable[[Path], Sequence[str]]
    share: float = 1.0


def _module(name: str, *more: str) -> Callable[[Path], Sequence[str]]:
    return lambda file: (sys.executable, "-m", f"benchmarks.peers.{name}", str(file), *more)


def _quix(file: Path) -> Sequence[str]:
    return python_with(QUIX, "quix"), "-m", "benchmarks.peers.quix", str(file)


OURS, BARE, CEILING, QUIX_NAME, FAUST = (
    "ours",
    "ours, bare work",
    "hand-written loop",
    "Quix Streams",
    "stock Faust",
)
CONTENDERS = (
    Contender(OURS, _module("ours")),
    Contender(BARE, _module("ours", "bare")),
    Contender(CEILING, _module("hand_written")),
    Contender(QUIX_NAME, _quix, share=0.25),
    Contender(FAUST, _module("stock_faust"), share=0.1),
)


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


def measure(
    addresses: dict[str, str], contender: Contender, records: int, folder: Path, number: int
) -> Run:
    """Lets one contender loose on the input, on one core, until its events are there."""
    name = f"{CONTENDERS.index(contender)}-{number}"
    file = job(addresses, SOURCE, name, folder)
    wanted = int(records * contender.share)
    core = max(os.sched_getaffinity(0))
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            contender.argv(file),
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    try:
        return _followed(addresses, contender.name, f"out-{name}", wanted, process)
    except TimeoutError:
        said = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{contender.name} did not do its work:\n{said}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _followed(
    addresses: dict[str, str],
    contender: str,
    topic: str,
    wanted: int,
    process: subprocess.Popen[bytes],
) -> Run:
    options = KafkaOptions(addresses["kafka"]).for_reader(committed=True)
    consumer = Consumer({**options, "enable.partition.eof": False, "group.id": f"count-{topic}"})
    consumer.assign([Assigned(topic, p, 0) for p in range(PARTITIONS)])
    stamps: list[int] = []
    began_cpu = 0.0
    give_up_at = time.monotonic() + GIVE_UP_S
    while len(stamps) < wanted:
        if time.monotonic() > give_up_at or process.poll() is not None:
            raise TimeoutError
        before = len(stamps)
        stamps += [m.timestamp()[1] for m in consumer.consume(10_000, 0.2) if m.error() is None]
        if not before and stamps:
            began_cpu, began_at = _cpu_s(process.pid), len(stamps)
    ended_cpu = _cpu_s(process.pid)
    consumer.close()
    seconds = (max(stamps) - min(stamps)) / 1000
    # What was there at the first look had cost processor time before it.
    share = len(stamps) / max(1, len(stamps) - began_at)
    return Run(contender, len(stamps), seconds, (ended_cpu - began_cpu) * share)


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def main() -> None:
    """Runs everybody in turn, as often as asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--conversations", type=int, default=5_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS])
    parser.add_argument("--out", type=Path, default=Path("test-output/peers"))
    chosen = parser.parse_args()
    console = Console(stderr=True)
    contenders = [c for c in CONTENDERS if not chosen.only or c.name in chosen.only]
    runs: list[Run] = []
    with (
        console.status("starting Kafka and the registry") as status,
        fresh_broker() as addresses,
        tempfile.TemporaryDirectory(prefix="parley-bench-peers-") as name,
    ):
        status.update("filling the topic")
        fill(addresses, SOURCE, chosen.records, chosen.conversations)
        for number in range(chosen.repeat):
            for contender in contenders:
                status.update(f"{contender.name}, {number + 1} of {chosen.repeat}")
                run = measure(addresses, contender, chosen.records, Path(name), number)
                runs.append(run)
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(run), "per_s": round(run.per_s)} for run in runs]
    (chosen.out / "peers.json").write_text(json.dumps(rows, indent=2))
    medians = {c.name: _rates(runs, c.name) for c in contenders}
    (chosen.out / "peers.svg").write_text(plot.bars("records a second on one core", medians))
    show(runs, [c.name for c in contenders])


def _rates(runs: Sequence[Run], name: str) -> tuple[float, float, float]:
    rates = sorted(run.per_s for run in runs if run.contender == name)
    return rates[0], statistics.median(rates), rates[-1]


def show(runs: Sequence[Run], names: Sequence[str]) -> None:
    """The table for people: records a second, and processor time for each."""
    table = Table(title="the same work on one core", header_style="bold", border_style="dim")
    table.add_column("who", no_wrap=True)
    for title in ("least/s", "median/s", "most/s", "µs each", "of the loop"):
        table.add_column(title, justify="right")
    ceiling = _rates(runs, CEILING)[1] if CEILING in names else 0.0
    for name in names:
        least, median, most = _rates(runs, name)
        cpu_us = statistics.median(run.cpu_us for run in runs if run.contender == name)
        share = f"{median / ceiling:.2f}" if ceiling else ""
        rates = (f"{rate:,.0f}" for rate in (least, median, most))
        table.add_row(name, *rates, f"{cpu_us:.1f}", share)
    Console().print(table)


if __name__ == "__main__":
    main()
