"""`parley up`: the embedded stack, in the foreground or in the background."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.local.data_folder import open_folder
from parley.local_stack import detach, fetch_everything, folder_of, run
from parley.options import Data
from parley.part_table import Changes, part_table
from parley.terminal import err, out


def up(
    data: Data = None,
    detached: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything is ready.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", hidden=True)] = False,
) -> None:
    """Starts the whole stack on this machine: Kafka, registry, Redis, workers, analytics, gateway.

    The first start fetches Kafka, the registry and the model (about 300 MB). Everything listens
    on loopback and keeps its data in one folder; ports that are taken are exchanged for free ones.

    Examples:

      parley up                      in the foreground; Ctrl-C stops everything

      parley up -d --data ./demo     in the background; stop it with parley down --data ./demo
    """
    folder = folder_of(data)
    # A folder that is refused is refused before anything is fetched.
    open_folder(folder)
    fetch_everything(folder)
    changes = Changes(err(), folder)
    if not detached:
        run(folder, changes if plain else _AndThen(changes, folder))
        return
    status = detach(folder, changes)
    out().print(part_table(status, folder))
    _say_what_next(folder)


class _AndThen:
    """Shows the table and the next steps once everything is ready."""

    def __init__(self, changes: Changes, folder: Path) -> None:
        self._changes = changes
        self._folder = folder
        self._shown = False

    def __call__(self, status: object) -> None:
        from infra.local import StackStatus, State

        assert isinstance(status, StackStatus)
        self._changes(status)
        if status.state is State.READY and not self._shown:
            self._shown = True
            out().print(part_table(status, self._folder))
            _say_what_next(self._folder)


def _say_what_next(folder: Path) -> None:
    from infra.local import Stack

    gateway = Stack(folder).addresses().get("gateway", "")
    out().print(f"chat in the browser: [bold]{gateway}[/bold]")
    out().print(f"chat here:           [bold]parley chat --data {folder}[/bold]", soft_wrap=True)
    out().print(f"stop:                [bold]parley down --data {folder}[/bold]", soft_wrap=True)
