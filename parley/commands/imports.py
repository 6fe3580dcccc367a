"""`parley import`: real customers, played through the gateway and measured."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from infra.settings import load_settings
from parley.client import Client
from parley.exits import Exit
from parley.garbage import collect_rarely
from parley.importing.dialogues import Dialogue
from parley.importing.figures import PERCENTILES, STEPS, Figures, percentile
from parley.importing.formats import read_dialogues
from parley.importing.player import Player, people_for
from parley.options import Data, Json, Tenant
from parley.progress import counting
from parley.talk import gateway_url, token_source
from parley.terminal import err, out, print_json

_SHOWN_MAX = 10


class Format(StrEnum):
    """What the file is."""

    BANKING77 = "banking77"
    SGD = "sgd"
    TASKMASTER = "taskmaster"
    JSONL = "jsonl"


def imports(
    file: Annotated[Path, typer.Argument(help="A file; for sgd and taskmaster also a folder.")],
    format_: Annotated[Format, typer.Option("--format", help="What the file is.")],
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="N", help="Messages a second; as fast as answers come."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N conversations.")
    ] = None,
    tenant: Tenant = "demo",
    patience: Annotated[
        float, typer.Option(min=1, metavar="S", help="Seconds to wait for one answer.")
    ] = 120.0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Plays the customers of a file: each row or dialogue is a conversation of its own.

    A customer says one thing, waits for the answer, says the next. Sends that were not
    acknowledged are repeated after a reconnect. Exits 1 if a message has no completed answer.
    Ctrl-C ends it with the figures of what was done.

    Formats:

      banking77   CSV; its first line names a column "text"

      sgd         JSON; dialogues with "turns" of "speaker", "utterance"

      taskmaster  JSON; dialogues with "utterances" of "speaker", "text"

      jsonl       lines {"text": "…"} or {"messages": ["…"]}, "id" if wanted

    Examples:

      parley import train.csv --format banking77 --limit 500

      parley import dialogues/ --format sgd --rate 20 --json
    """
    settings = load_settings(data)
    dialogues = read_dialogues(file, format_.value, limit)
    url = gateway_url(settings)

    def open_client(sub: str) -> Client:
        return Client(url, token_source(settings, tenant, sub), sockets_max=1)

    messages = sum(len(each.messages) for each in dialogues)
    people = people_for(rate, len(dialogues))
    said = (_counted(len(dialogues), "conversation"), _counted(messages, "message"))
    err().print(f"{' with '.join(said)}, {_counted(people, 'customer')} at once")
    with counting() as bar:
        task = bar.add_task("playing", total=messages)
        player = Player(
            open_client, rate=rate, patience_s=patience, on_message=lambda _: bar.advance(task)
        )
        whole = _play(player, dialogues)
    figures = player.figures
    if as_json:
        print_json(figures.as_json())
    else:
        _print(figures)
    if not whole:
        err().print(f"stopped: the figures are of {len(figures.exchanges)} of {messages} messages")
        raise typer.Exit(Exit.INTERRUPTED)
    if figures.unanswered:
        raise typer.Exit(Exit.NEGATIVE)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _play(player: Player, dialogues: list[Dialogue]) -> bool:
    """Plays the dialogues; False if Ctrl-C ended it early."""
    collect_rarely()  # or their customers would wait for our collector, and we measure that
    try:
        asyncio.run(player.play(dialogues))
    except KeyboardInterrupt:
        return False
    return True


def _print(figures: Figures) -> None:
    report = figures.as_json()
    out().print(
        f"{report['completed']} of {report['messages']} messages answered in "
        f"{report['seconds']:.1f} s, {report['messages_per_s']:.1f} a second"
        f"; {report['declined']} declined, {figures.reconnects} reconnects"
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("milliseconds")
    for title in (*(f"p{each}" for each in PERCENTILES), "max"):
        table.add_column(title, justify="right")
    for step in STEPS:
        if ordered := figures.latencies_ms(step):
            values = [*(percentile(ordered, each) for each in PERCENTILES), ordered[-1]]
            table.add_row(step, *(f"{value:.1f}" for value in values))
    out().print(table)
    for conversation, message, why in figures.unanswered[:_SHOWN_MAX]:
        err().print(f"conversation {conversation}, message {message}: {why}", style="red")
    if (more := len(figures.unanswered) - _SHOWN_MAX) > 0:
        err().print(f"and {more} more without an answer", style="red")
