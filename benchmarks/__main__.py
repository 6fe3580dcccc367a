"""`python -m benchmarks`: measures the engine on a broker of its own, and prints a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.broker import fresh_broker
from benchmarks.commands import WORKLOADS
from benchmarks.engine import Hop, Throughput, as_row, measure_hop, measure_throughput


def main() -> None:
    """Runs everything once for each repetition."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--conversations", type=int, default=20_000, help="per workload")
    parser.add_argument("--hops", type=int, default=300, help="commands of the latency run")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each workload")
    parser.add_argument("--any-core", action="store_true", help="do not pin the worker to a core")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    core = None if args.any_core else max(os.sched_getaffinity(0))
    console = Console(stderr=True)
    with console.status("starting Kafka and the registry") as status, fresh_broker() as addresses:
        results: list[Throughput] = []
        for run in range(args.repeat):
            for workload in WORKLOADS:
                status.update(f"{workload}, run {run + 1} of {args.repeat}")
                results.append(measure_throughput(addresses, workload, args.conversations, core))
        status.update("one hop")
        hop = measure_hop(addresses, args.hops)
    if args.json:
        report = {"throughput": [as_row(r) for r in results], "hop_ms": asdict(hop)}
        print(json.dumps(report, indent=2))
    else:
        show(results, hop)


def show(results: list[Throughput], hop: Hop) -> None:
    """The table for people."""
    table = Table(title=f"conversation stage, one core of {os.cpu_count()}, {platform.machine()}")
    for column in ("workload", "commands", "commands/s: least", "median", "most"):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for workload in WORKLOADS:
        rates = sorted(r.commands_per_s for r in results if r.workload == workload)
        commands = next(r.commands for r in results if r.workload == workload)
        shown = (rates[0], rates[len(rates) // 2], rates[-1])
        table.add_row(workload, f"{commands:,}", *(f"{rate:,.0f}" for rate in shown))
    console = Console()
    console.print(table)
    console.print(
        f"one hop, produce to read_committed: p50 {hop.p50:.1f} ms, "
        f"p95 {hop.p95:.1f} ms, p99 {hop.p99:.1f} ms"
    )


if __name__ == "__main__":
    main()
