"""How long conversations pause while workers come, go and die: `python -m benchmarks.takeover`.

Commands come at an even pace on every partition; what counts is the longest that one of them
waited for its event while the group changed.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.commands import submit
from benchmarks.reading import committed_reader
from benchmarks.workers import worker
from infra.schema_registry import SchemaRegistry
from schemas.topics import COMMANDS, EVENTS, key_of
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

PER_S = 60
AFTER_S = 10.0
"""A change is over by then, also where a killed worker has to be missed first."""
STARTS_S = 30.0


@dataclass(frozen=True, slots=True)
class Pause:
    """The longest wait of a command, in milliseconds, while the group changed so."""

    change: str
    longest_ms: float


class Traffic:
    """Sends commands and takes the time until each one's event can be read."""

    def __init__(self, addresses: dict[str, str]) -> None:
        options = KafkaOptions(addresses["kafka"])
        self._wire = TopicWire(COMMANDS, SchemaRegistry(addresses["registry"]))
        self._producer = Producer(options.for_producer())
        starts = dict.fromkeys(range(EVENTS.partitions), 0)
        self._reader = committed_reader(options, EVENTS.name, starts)
        self._run = f"{time.time_ns():x}"
        self._sent: dict[bytes, float] = {}
        self._took: list[tuple[float, float]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._flow, daemon=True)
        self._thread.start()

    def longest_ms(self, since: float) -> float:
        """The longest wait of a command that was sent since; those that still wait count too."""
        now = time.perf_counter()
        open_ms = [(now - at) * 1000 for at in list(self._sent.values()) if at >= since]
        return max([ms for at, ms in list(self._took) if at >= since] + open_ms, default=0.0)

    @property
    def answered(self) -> int:
        return len(self._took)

    def stop(self) -> None:
        """Sends no more."""
        self._stopping.set()
        self._thread.join()

    def _flow(self) -> None:
        number, began = 0, time.perf_counter()
        while not self._stopping.is_set():
            due = began + number / PER_S
            message = self._reader.poll(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            if message is not None and message.error() is None:
                sent = self._sent.pop(message.key(), None)
                if sent is not None:
                    self._took.append((sent, (now - sent) * 1000))
            if now >= due:
                self._send(f"c{self._run}-{number}", now)
                number += 1

    def _send(self, conversation: str, now: float) -> None:
        command = submit(conversation, 0)
        key = key_of(command)
        self._sent[key] = now
        self._producer.produce(COMMANDS.name, self._wire.encode(command), key)
        self._producer.poll(0)


def measure(addresses: dict[str, str], status: Callable[[str], None]) -> list[Pause]:
    """Two workers at work; a third comes, goes, and one of the two is killed."""
    found: list[Pause] = []
    with ExitStack() as stack:
        first = stack.enter_context(worker(addresses))
        stack.enter_context(worker(addresses))
        traffic = Traffic(addresses)
        stack.callback(traffic.stop)
        _until_calm(traffic)

        def during(change: str, act: Callable[[], object], wait_s: float) -> None:
            status(change)
            since = time.perf_counter()
            act()
            time.sleep(wait_s)
            found.append(Pause(change, round(traffic.longest_ms(since))))
            _until_calm(traffic)

        still = stack.enter_context(ExitStack())
        during("nothing changes", lambda: None, AFTER_S)
        third = still.enter_context(worker(addresses))
        during("a worker joins", lambda: None, STARTS_S)
        during("a worker leaves", third.stop, AFTER_S)
        during("a worker is killed", first.kill, AFTER_S)
    return found


def _until_calm(traffic: Traffic) -> None:
    """Waits until the latest commands have their events at once."""
    give_up_at = time.monotonic() + 120
    while time.monotonic() < give_up_at:
        since, answered = time.perf_counter(), traffic.answered
        time.sleep(3.0)
        if traffic.answered > answered + PER_S and traffic.longest_ms(since) < 500:
            return
    raise SystemExit("the workers do not get on")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takeover", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    with console.status("starting Kafka and the registry") as status, fresh_broker() as addresses:
        found = measure(addresses, status.update)
    if chosen.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    table = Table(title=f"the longest wait of a command, at {PER_S} a second")
    table.add_column("while")
    table.add_column("ms", justify="right")
    for each in found:
        table.add_row(each.change, f"{each.longest_ms:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
