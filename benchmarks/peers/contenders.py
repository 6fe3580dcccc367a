"""Who takes part: a name, the command of a program that does the work, and how much it is given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import kafka_streams
from benchmarks.peers.environments import BYTEWAX, QUIX, python_with


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that does the work. `share` of the input is enough where it is slow."""

    name: str
    argv: Callable[[Path], Sequence[str]]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """One engine at several sizes of what it commits at once, the smallest first."""

    name: str
    contenders: tuple[Contender, ...]


def _module(name: str, *more: str) -> Callable[[Path], Sequence[str]]:
    return lambda file: (sys.executable, "-m", f"benchmarks.peers.{name}", str(file), *more)


def _quix(file: Path) -> Sequence[str]:
    return python_with(QUIX, "quix"), "-m", "benchmarks.peers.quix", str(file)


def _bytewax(file: Path) -> Sequence[str]:
    python = python_with(BYTEWAX, "bytewax")
    recovery = file.with_suffix("") / "recovery"
    recovery.mkdir()
    subprocess.run((python, "-m", "bytewax.recovery", str(recovery), "1"), check=True)
    flow = f"benchmarks.peers.bytewax:flow('{file}')"
    return python, "-m", "bytewax.run", flow, "-r", str(recovery), "-s", "1", "-b", "0"


def _kafka_streams(commit_ms: int) -> Callable[[Path], Sequence[str]]:
    return lambda file: kafka_streams.argv(file, commit_ms)


OURS = Contender("ours", _module("ours"))
CEILING = Contender("hand-written loop", _module("hand_written"))
CONTENDERS = (
    OURS,
    Contender("ours, bare work", _module("ours", "--bare")),
    CEILING,
    Contender("Quix Streams", _quix, share=0.5),
    Contender("Bytewax", _bytewax, share=0.5),
    Contender("stock Faust", _module("stock_faust"), share=0.1),
    Contender("Kafka Streams (JVM)", _kafka_streams(100)),
)

BATCHES = (10, 100, 1000, 20_000)
COMMITS_MS = (10, 30, 100, 1000)
LINES = (
    Line(
        "ours, largest batch",
        tuple(Contender(f"{n}", _module("ours", "--batch", str(n))) for n in BATCHES),
    ),
    Line(
        "Kafka Streams, commits",
        tuple(Contender(f"{ms} ms", _kafka_streams(ms)) for ms in COMMITS_MS),
    ),
)
