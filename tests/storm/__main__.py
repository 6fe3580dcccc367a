"""`python -m tests.storm --minutes 3 --seed 7`: a storm over a stack of its own; exits 1 if a
promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .deployment import deployed
from .provider import model_provider
from .storm import Storm, Verdict, Weather, keep, keep_logs


def main() -> int:
    """Runs the storm and prints what the oracle found."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long it rages")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--fault-every", type=float, default=6.0, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=Path("test-output/storm"))
    chosen = parser.parse_args()
    weather = Weather(chosen.seed, chosen.minutes * 60, chosen.conversations, chosen.fault_every)
    console = Console()
    console.print(f"seed [bold]{chosen.seed}[/bold], {chosen.minutes:g} minutes")
    # Told to end it takes its stack and its small filesystem with it, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        verdict = _run(weather, console, chosen.out)
    except KeyboardInterrupt:
        console.print("stopped before it could be judged")
        return 130
    show(verdict, console)
    file = keep(verdict, chosen.out)
    if not verdict.holds:
        again = f"make storm MINUTES={chosen.minutes:g} SEED={chosen.seed}"
        console.print(f"again: [bold]{again}[/bold]; what clients wrote down: {file}")
    return 0 if verdict.holds else 1


def _run(weather: Weather, console: Console, out: Path) -> Verdict:
    began = time.monotonic()

    def said(words: str) -> None:
        console.print(Text(f"{time.monotonic() - began:6.1f} s  {words}"))

    with tempfile.TemporaryDirectory(prefix="parley-storm-") as name:
        folder = Path(name) / "data"
        with model_provider() as provider, deployed(folder, provider.url):
            said("the stack is up")
            try:
                return asyncio.run(Storm(folder, provider, said).run(weather))
            finally:
                keep_logs(folder, out)


def show(verdict: Verdict, console: Console) -> None:
    """The figures, and what was found."""
    counted = {
        **verdict.history.counted(),
        "events": verdict.events,
        "turns": ", ".join(f"{n} {what}" for what, n in sorted(verdict.outcomes.items())),
        "faults": f"{verdict.struck} of {len(verdict.faults)} struck",
        "drained": f"{verdict.drained_s:.1f} s",
        "streamed": "{1} of {0} answers that came to a screen".format(*verdict.streamed),
        "latest end": f"{verdict.latest_s:+.1f} s after its deadline",
    }
    for name, value in counted.items():
        console.print(f"{name:<19}{value}", highlight=False)
    if verdict.holds:
        console.print("[bold green]✓[/bold green] every promise was kept")
        return
    table = Table("rule", "conversation", "what", header_style="bold", border_style="dim")
    for finding in verdict.findings[:30]:
        table.add_row(*map(Text, (finding.rule, ":".join(finding.place), finding.what)))
    console.print(table)
    console.print(f"[bold red]✗[/bold red] {len(verdict.findings)} findings")


if __name__ == "__main__":
    sys.exit(main())
