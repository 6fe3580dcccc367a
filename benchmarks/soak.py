"""Whether memory stays flat: a whole stack under an even load, `python -m benchmarks.soak`.

Conversations are new ones all the time, as on a busy day. Memory may still grow into its caches
in the first half; what counts is the second half, by part.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.local import Stack
from parley.local_stack import detach, fetch_everything, scatter_ports

SAMPLE_S = 5.0
QUESTIONS = (
    "My card has still not arrived, what can I do",
    "How long does a transfer to another bank take",
    "Why was I charged twice at the petrol station",
    "I have forgotten the passcode of the app",
    "Can I get a second card for my partner",
    "Which currencies can I hold in my account",
)


def measure(minutes: float, per_s: float) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Resident megabytes of each part, sampled under load, and what the load saw."""
    with tempfile.TemporaryDirectory(prefix="parley-bench-soak-") as name:
        folder = Path(name) / "data"
        fetch_everything(folder)
        scatter_ports(folder)
        detach(folder, lambda status: None, tied=True)
        try:
            return _under_load(folder, Path(name), minutes * 60, per_s)
        finally:
            Stack(folder).stop()


def _under_load(
    folder: Path, scratch: Path, seconds: float, per_s: float
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    questions = scratch / "questions.jsonl"
    with questions.open("w") as file:
        for number in range(int(seconds * per_s)):
            text = f"{QUESTIONS[number % len(QUESTIONS)]}, case {number}?"
            file.write(json.dumps({"text": text}) + "\n")
    command = [sys.executable, "-m", "parley", "import", str(questions), "--format", "jsonl"]
    command += ["--rate", str(per_s), "--json", "--data", str(folder)]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    samples: dict[str, list[float]] = defaultdict(list)
    for _ in track(range(int(seconds / SAMPLE_S)), "under load", console=Console(stderr=True)):
        time.sleep(SAMPLE_S)
        for part in Stack(folder).status().parts:
            samples[part.name].append(psutil.Process(part.pid).memory_info().rss / 2**20)
        if load.poll() is not None:
            break
    told, _ = load.communicate(timeout=120)
    return samples, json.loads(told)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=15.0, help="messages a second")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    samples, load = measure(chosen.minutes, chosen.rate)
    if chosen.json:
        print(json.dumps({"resident_mb": samples, "load": load}))
        return
    show(samples, load)


def show(samples: dict[str, list[float]], load: dict[str, Any]) -> None:
    """The table for people."""
    table = Table(title="resident MB, over the run")
    for heading in ("part", "at first", "half way", "at last", "second half"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part, row in samples.items():
        tenth = max(1, len(row) // 10)
        middle = len(row) // 2
        stretches = (row[:tenth], row[middle : middle + tenth], row[-tenth:])
        first, half, last = map(statistics.median, stretches)
        shown = (f"{mb:.0f}" for mb in (first, half, last))
        table.add_row(part, *shown, f"{last - half:+.0f}")
    console = Console()
    console.print(table)
    console.print(f"{load['completed']} of {load['messages']} messages were answered")


if __name__ == "__main__":
    main()
