"""`parley status`: the parts of a stack, or the settings of its processes."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from infra.local import Stack, StackStatus
from infra.settings import Settings, load_settings
from parley.exits import Exit
from parley.options import Data, Json
from parley.part_table import as_json as parts_as_json
from parley.part_table import metrics_addresses, part_table
from parley.stage_figures import StageFigures, look, stage_table
from parley.terminal import err, out, print_json


def status(
    data: Data = None,
    show_settings: Annotated[
        bool, typer.Option("--settings", help="Every setting, where it comes from; no secrets.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Shows every part, and how far every stage is.

    A part has an address, a version, a process, a start time, memory and restarts. A stage has
    its lag (records that it has not handled yet), its rate now, its last commit, and how many its
    processes had to put aside since they began (see parley dead-letters). Exits 3 if the stack
    does not run.

    Examples:

      parley status --data ./demo

      parley status --settings | grep kafka
    """
    settings = load_settings(data)
    if show_settings:
        print_json(settings.masked()) if as_json else out().print(_settings_table(settings))
        return
    found = Stack(settings.data_dir).status()
    stages = _stages(found, settings.data_dir) if found.running else []
    if as_json:
        parts = parts_as_json(found, settings.data_dir)
        print_json({**parts, "stages": [stage.as_json() for stage in stages]})
    elif found.parts:
        out().print(part_table(found, settings.data_dir))
        if stages:
            restarts = {part.name: part.restarts for part in found.parts}
            out().print(stage_table(stages, restarts, time.time()))
    if not found.running:
        _say_stopped(found, settings.data_dir)
        raise typer.Exit(Exit.UNREACHABLE)


def _stages(found: StackStatus, folder: Path) -> list[StageFigures]:
    with err().status("asking the stages …") if err().is_terminal else nullcontext():
        return look(metrics_addresses(found, folder))


def _say_stopped(found: StackStatus, folder: Path) -> None:
    if found.failure:
        err().print(Text(f"the last start failed: {found.failure}", "red"), soft_wrap=True)
    err().print(
        f'no stack runs on {folder}: start one with "parley up --data {folder}"',
        style="yellow",
        soft_wrap=True,
    )


def _settings_table(settings: Settings) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("setting", "value", "unit", "from", "meaning"):
        table.add_column(title, overflow="fold")
    for row in settings.listing():
        changed = row.origin != "default"
        table.add_row(
            Text(row.path, "bold" if changed else ""),
            Text(row.value, "cyan" if changed else ""),
            Text(row.unit, "dim"),
            Text(row.origin, "green" if changed else "dim"),
            Text(row.description, "dim"),
        )
    return table
