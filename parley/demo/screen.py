"""What the demo prints: numbered steps, commands as one would type them, customers in colour."""

from __future__ import annotations

import time
from collections.abc import Sequence
from textwrap import wrap

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from parley.demo.customers import Customer

COLOURS = (
    "cyan",
    "magenta",
    "green",
    "yellow",
    "bright_blue",
    "bright_magenta",
    "bright_cyan",
    "bright_green",
    "orange1",
)

WIDTH_MAX = 110
"""Longer lines are hard to read, on however wide a screen."""
LINES_MAX = 4


class Broken(Exception):
    """One of the demo's promises does not hold; the message says which."""


class Screen:
    """Prints the demo on one console and keeps its clock."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._number = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def step(self, title: str) -> None:
        """Begins the next step."""
        self._number += 1
        self.console.print()
        head = Text.assemble(
            (f"{self._number} ", "bold cyan"),
            (title, "bold"),
            (f"  {self.elapsed_s:.0f} s", "dim"),
        )
        if self.console.is_terminal:
            self.console.print(Rule(head, align="left", style="dim"))
        else:
            self.console.print(head)

    def say(self, sentence: str, style: str = "dim") -> None:
        """A sentence of explanation."""
        self.console.print(Text(sentence, style), soft_wrap=not self.console.is_terminal)

    def kept(self, promise: str) -> None:
        """A promise that was checked and holds."""
        self.console.print(Text.assemble(("✓ ", "bold green"), promise))

    def command(self, words: Sequence[str]) -> None:
        """A command that is about to be run, as one would type it."""
        line = " ".join(f'"{word}"' if " " in word else word for word in words)
        self.console.print(Text.assemble(("$ ", "bold"), (line, "bold")), soft_wrap=True)

    def said(self, customer: Customer, colour: str, text: str, note: str = "") -> None:
        """A customer's message."""
        who = (f"{customer.name}@{customer.tenant}", f"bold {colour}")
        self.console.print(Text.assemble(who, "  ", text, (f"  {note}" if note else "", "dim")))

    def answered(self, colour: str, text: str, cited: Sequence[str]) -> None:
        """An answer, shortened to its beginning."""
        lines = [line for part in text.splitlines() for line in wrap(part, self._room)]
        if len(lines) > LINES_MAX:
            lines = [*lines[: LINES_MAX - 1], lines[LINES_MAX - 1] + " …"]
        for line in lines:
            self._beside(colour, line)
        if cited:
            for line in wrap("cites " + ", ".join(cited), self._room):
                self._beside(colour, line, "dim italic")

    def _beside(self, colour: str, line: str, style: str = "") -> None:
        self.console.print(Text.assemble(("  │ ", colour), (line, style)), soft_wrap=True)

    @property
    def _room(self) -> int:
        """Columns for text beside its bar."""
        return min(self.console.width, WIDTH_MAX) - 6


def streaming_table(rows: Sequence[tuple[Customer, str, str]], width: int) -> Table:
    """Customers with what they asked and the end of their answers so far."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=max(20, width - 16))
    room = max(18, width - 18)
    for number, (customer, asked, text) in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        flat = " ".join(text.split())
        shown = Text(flat if len(flat) <= room else "…" + flat[1 - room :])
        name = Text(f"{customer.name}@{customer.tenant}", f"bold {colour}")
        table.add_row(name, shown if flat else Text(asked[:room], "dim italic"))
    return table
