"""`python -m benchmarks.peers`: everybody does the same work, in turn; tables, JSON and plots."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.peers import plot
from benchmarks.peers.contenders import CEILING, CONTENDERS, LINES, OURS, Contender
from benchmarks.peers.running import Course, Latency, Run
from benchmarks.peers.work import fill

SOURCE = "said"
LIGHT_PER_S = 33
OUT = Path("test-output") / "peers"
EVERYBODY, CURVE, WORKERS = WHAT = ("everybody", "curve", "workers")

Status = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Point:
    """An engine at one size of what it commits at once."""

    line: str
    size: str
    run: Run
    latency: Latency


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured."""

    runs: list[Run]
    scaling: dict[int, list[Run]]
    points: list[Point]

    def as_json(self) -> str:
        """For machines."""
        return json.dumps(
            {
                "runs": [_row(run) for run in self.runs],
                "workers": {n: [_row(run) for run in runs] for n, runs in self.scaling.items()},
                "curve": [
                    {
                        "line": point.line,
                        "size": point.size,
                        **_row(point.run),
                        "latency_ms": asdict(point.latency),
                    }
                    for point in self.points
                ],
            },
            indent=2,
        )


def _row(run: Run) -> dict[str, object]:
    return {**asdict(run), "per_s": round(run.per_s), "cpu_us": round(run.cpu_us, 1)}


def measure(
    addresses: dict[str, str],
    chosen: argparse.Namespace,
    folder: Path,
    cores: Sequence[int],
    status: Status,
    report: Report,
) -> None:
    """Everybody in turn, as often as asked; then the curve, then one worker and two.

    Writes into `report` as it goes.
    """
    status("filling the topic")
    fill(addresses, SOURCE, chosen.records, chosen.conversations)
    course = Course(addresses, SOURCE, folder, cores)
    contenders = [c for c in CONTENDERS if not chosen.only or c.name in chosen.only]
    if EVERYBODY in chosen.what:
        for number in range(chosen.repeat):
            for contender in contenders:
                status(f"{contender.name}, {number + 1} of {chosen.repeat}")
                report.runs.append(course.throughput(contender, chosen.records))
    if CURVE in chosen.what:
        for line in LINES:
            for contender in line.contenders:
                status(f"{line.name}: {contender.name}")
                report.points.append(_point(course, line.name, contender, chosen))
    if WORKERS in chosen.what:
        for number in range(chosen.repeat):
            for workers in (1, 2):
                status(f"{workers} of our workers, {number + 1} of {chosen.repeat}")
                run = course.throughput(OURS, chosen.records, workers)
                report.scaling.setdefault(workers, []).append(run)


def _point(course: Course, line: str, contender: Contender, chosen: argparse.Namespace) -> Point:
    run = course.throughput(contender, chosen.records)
    latency = course.latency(contender, LIGHT_PER_S, chosen.light)
    return Point(line, contender.name, run, latency)


def main() -> None:
    """Runs everybody in turn, as often as asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--light", type=int, default=400, help="records of each latency run")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT, metavar="WHAT")
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS])
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    if len(cores) > 1:  # the broker and the reader leave the contender's core alone
        os.sched_setaffinity(0, cores[1:])
    console = Console(stderr=True)
    report = Report([], {}, [])
    try:
        with (
            console.status("starting Kafka and the registry") as status,
            fresh_broker() as addresses,
            tempfile.TemporaryDirectory(prefix="parley-bench-peers-") as name,
        ):
            measure(addresses, chosen, Path(name), cores, status.update, report)
    finally:
        # Also what was measured before one of them failed, or before Ctrl-C.
        if report.runs or report.points or report.scaling:
            keep(report, chosen.out)
            show(report)


def keep(report: Report, folder: Path) -> None:
    """The figures as JSON and as pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(report.as_json())
    if report.runs:
        rates = {name: _rates(report.runs, name) for name in _names(report.runs)}
        (folder / "peers.svg").write_text(plot.bars("records a second on one core", rates))
    if report.points:
        lines: dict[str, list[plot.Point]] = {}
        for point in report.points:
            place = plot.Point(1e6 / point.run.cpu_us, point.latency.p95, point.size)
            lines.setdefault(point.line, []).append(place)
        picture = plot.curve(
            lines, "records a CPU-second", f"p95 at {LIGHT_PER_S} records a second, ms"
        )
        (folder / "curve.svg").write_text(picture)


def _names(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.contender for run in runs))


def _rates(runs: Sequence[Run], name: str) -> tuple[float, float, float]:
    rates = sorted(run.per_s for run in runs if run.contender == name)
    return rates[0], statistics.median(rates), rates[-1]


def show(report: Report) -> None:
    """The tables for people."""
    console = Console()
    if report.runs:
        console.print(_everybody(report.runs))
    if report.points:
        console.print(_curve(report.points))
    if len(report.scaling) == 2:
        one, two = (statistics.median(r.per_s for r in report.scaling[n]) for n in (1, 2))
        console.print(
            f"one worker {one:,.0f}/s, two on two cores {two:,.0f}/s: {two / one:.2f} times; "
            "the broker needs these cores as well"
        )


def _everybody(runs: Sequence[Run]) -> Table:
    table = Table(title="the same work on one core", header_style="bold", border_style="dim")
    table.add_column("who", no_wrap=True)
    for title in ("per s", "least–most", "µs", "of loop", "ours is"):
        table.add_column(title, justify="right")
    names = _names(runs)
    medians = {name: _rates(runs, name)[1] for name in names}
    ceiling, ours = medians.get(CEILING.name), medians.get(OURS.name)
    for name in names:
        cpu_us = statistics.median(run.cpu_us for run in runs if run.contender == name)
        least, median, most = _rates(runs, name)
        share = f"{medians[name] / ceiling:.2f}" if ceiling else ""
        times = f"{ours / medians[name]:.2f}×" if ours else ""
        spread = f"{least:,.0f}–{most:,.0f}"
        table.add_row(name, f"{median:,.0f}", spread, f"{cpu_us:.1f}", share, times)
    return table


def _curve(points: Sequence[Point]) -> Table:
    title = f"throughput on one core, and latency at {LIGHT_PER_S} records a second"
    table = Table(title=title, header_style="bold", border_style="dim")
    table.add_column("who", no_wrap=True)
    table.add_column("size")
    for heading in ("per s", "µs", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for point in points:
        times = (point.latency.p50, point.latency.p95, point.latency.p99)
        table.add_row(
            point.line,
            point.size,
            f"{point.run.per_s:,.0f}",
            f"{point.run.cpu_us:.1f}",
            *(f"{ms:.1f}" for ms in times),
        )
    return table


if __name__ == "__main__":
    main()
