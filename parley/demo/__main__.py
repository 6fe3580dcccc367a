"""`python -m parley.demo --data DIR`: the demo, step by step. Exits 1 if a promise is broken."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from infra.local import Stack
from infra.settings import load_settings
from parley.demo.crash import crash
from parley.demo.crowd import check_talks, print_talks, talk_all
from parley.demo.customers import CUSTOMERS
from parley.demo.looking import ask_sql, look_from_outside, run
from parley.demo.screen import Broken, Screen
from parley.demo.stage import bring_knowledge, show_parts, start
from parley.exits import Exit, verdict
from parley.terminal import err, out


def main() -> int:
    """Runs the demo; 0 if everything that it shows holds."""
    parser = argparse.ArgumentParser(prog="python -m parley.demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="the data folder")
    parser.add_argument("--stop", action="store_true", help="stop the stack at the end")
    chosen = parser.parse_args()
    folder = chosen.data.expanduser().absolute()
    screen = Screen(out())
    try:
        show(screen, folder)
    except KeyboardInterrupt:
        err().print(f'interrupted; the stack is left as it is: "make stop DATA={chosen.data}"')
        return Exit.INTERRUPTED
    except Broken as broken:
        err().print(f"broken promise: {broken}", style="bold red", soft_wrap=True, markup=False)
        err().print(f"the logs are in {folder / 'logs'}", soft_wrap=True)
        return Exit.NEGATIVE
    except Exception as error:
        ended = verdict(error)
        if ended.code is Exit.INTERNAL:
            raise
        err().print(f"error: {ended}", style="bold red", soft_wrap=True, markup=False)
        if ended.detail:
            err().print(ended.detail, style="dim", soft_wrap=True, markup=False)
        return ended.code
    if chosen.stop:
        Stack(folder).stop()
    else:
        _say_goodbye(screen, folder, chosen.data)
    return Exit.OK


def show(screen: Screen, folder: Path) -> None:
    """All steps. Raises `Broken` and what the commands raise."""
    screen.step("The stack: Kafka, registry, Redis, workers, ClickHouse, gateway")
    starting = start(screen, folder)
    settings = load_settings(folder)

    screen.step("The knowledge of two tenants, a bank and a grocer")
    bring_knowledge(screen, settings)

    screen.step("Eight customers talk at once")
    talks = asyncio.run(talk_all(settings, screen, CUSTOMERS))
    first = min(
        e.first_text_at - e.sent_at for t in talks for _, e in t.exchanges if e.first_text_at
    )
    print_talks(screen, talks)
    check_talks(screen, talks)
    screen.say(f"the fastest first words came {first * 1000:.0f} ms after their question")

    screen.step("kill -9 in the middle of an answer")
    cut_off = asyncio.run(crash(settings, screen, folder))

    screen.step("One conversation in the log, event by event")
    run(screen, folder, "log", cut_off.conversation, "--tenant", cut_off.customer.tenant)

    screen.step("What an analyst asks")
    ask_sql(screen, settings, [*talks, cut_off])

    screen.step("What the second tenant sees of the first")
    asyncio.run(look_from_outside(screen, settings, talks[0]))

    screen.step("Log, Redis and ClickHouse, compared event by event")
    run(screen, folder, "verify")
    screen.kept("every copy of every conversation says the same")

    screen.step("It runs")
    show_parts(screen, folder, starting)


def _say_goodbye(screen: Screen, folder: Path, data: Path) -> None:
    url = Stack(folder).addresses().get("gateway", "")
    console = screen.console
    console.print()
    console.print(f"  chat in the browser   [bold]{url}[/bold]", soft_wrap=True)
    console.print(f"  chat here             [bold].venv/bin/parley chat --data {data}[/bold]")
    console.print(f"  look around           [bold].venv/bin/parley status --data {data}[/bold]")
    stop = "make stop" if data == Path("data/demo") else f"make stop DATA={data}"
    console.print(f"  stop it               [bold]{stop}[/bold]")


if __name__ == "__main__":
    sys.exit(main())
