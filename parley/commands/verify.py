"""`parley verify`: whether Redis, the snapshots and ClickHouse are what the log says."""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from parley.exits import Exit
from parley.options import Data, Json
from parley.talk import log_settings
from parley.terminal import err, out, print_json
from parley.verify.opening import open_sources
from parley.verify.verification import Report, Verification


def verify(
    data: Data = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long projections may lag.", min=0)
    ] = 30.0,
    limit: Annotated[int, typer.Option(help="Differences that are printed.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Compares the log with Redis, ClickHouse and the snapshots, event by event.

    Every conversation is folded from its events again; what Redis and the snapshots hold must be
    that, byte for byte, and ClickHouse must have the same events, by a hash per conversation.
    Exits 1 on any difference.
    """
    settings = log_settings(data)
    with ExitStack() as stack:
        words = _progress(stack)
        with open_sources(settings) as sources:
            report = Verification(sources, words).run(wait)
    if as_json:
        print_json(_as_json(report, limit))
    else:
        _print(report, limit)
    if not report.agrees:
        raise typer.Exit(Exit.NEGATIVE)


def _progress(stack: ExitStack) -> Any:
    if not err().is_terminal:
        return lambda words: None
    return stack.enter_context(err().status("reading the log …")).update


def _as_json(report: Report, limit: int) -> dict[str, Any]:
    return {
        "agrees": report.agrees,
        "conversations": report.conversations,
        "events": report.events,
        "messages": report.messages,
        "turns": report.outcomes,
        "open_turns": [dataclasses.asdict(turn) for turn in report.open_turns],
        "waiting_messages": report.waiting_messages,
        "unreadable": [
            {"partition": partition, "offset": offset, "code": code}
            for partition, offset, code in report.unreadable
        ],
        "differences": len(report.differences),
        "first_differences": [dataclasses.asdict(d) for d in report.differences[:limit]],
        "seconds": round(report.seconds, 3),
    }


def _print(report: Report, limit: int) -> None:
    for note in _notes(report):
        out().print(Text(note, "yellow"), soft_wrap=True)
    counted = (
        f"{report.conversations:,} conversations, {report.events:,} events, "
        f"{report.messages:,} messages, {_outcomes(report)}"
    )
    if report.agrees:
        verdict = "log, Redis, ClickHouse and snapshots agree"
        out().print(
            Text.assemble(("✓ ", "bold green"), f"{verdict}: {counted} ({report.seconds:.1f} s)"),
            soft_wrap=True,
        )
        return
    out().print(_table(report, limit))
    out().print(
        Text.assemble(
            ("✗ ", "bold red"),
            f"{len(report.differences):,} differences in {counted} ({report.seconds:.1f} s)",
        ),
        soft_wrap=True,
    )


def _outcomes(report: Report) -> str:
    ended = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(report.outcomes.items()))
    return f"turns: {ended or 'none'}"


def _notes(report: Report) -> list[str]:
    notes = [
        f"open: turn {turn.turn_id} of {turn.tenant_id}:{turn.conversation_id}, from event "
        f"{turn.seq}, {_due(turn.deadline_us)}"
        for turn in report.open_turns
    ]
    if report.waiting_messages:
        notes.append(f"{report.waiting_messages:,} messages wait for their turn")
    if report.unreadable:
        partition, offset, code = report.unreadable[0]
        notes.append(
            f"{len(report.unreadable):,} records of the log are no events, the first at "
            f"partition {partition}, offset {offset} ({code}); they belong to the dead letters"
        )
    return notes


def _due(deadline_us: int) -> str:
    left = deadline_us / 1e6 - time.time()
    return f"due in {left:.0f} s" if left >= 0 else f"due {-left:.0f} s ago"


def _table(report: Report, limit: int) -> Table:
    table = Table(header_style="bold", border_style="dim")
    for column in ("conversation", "where", "what", "the log says", "found"):
        table.add_column(column, overflow="fold")
    for d in report.differences[:limit]:
        place = f"{d.tenant_id}:{d.conversation_id}"
        table.add_row(*map(Text, (place, d.where, d.what, d.expected, d.found)))
    more = len(report.differences) - limit
    if more > 0:
        table.caption = f"and {more:,} more: --limit shows them"
    return table
