"""`parley down`: stops the embedded stack of a data folder."""

from __future__ import annotations

import typer

from infra.local import Stack
from parley.exits import Exit
from parley.local_stack import folder_of
from parley.options import Data
from parley.terminal import err


def down(data: Data = None) -> None:
    """Stops the stack of a data folder, part by part, and waits until it has ended.

    Its data stays; the next "parley up" goes on where it was. Exits 1 if nothing ran.
    """
    folder = folder_of(data)
    if Stack(folder).stop():
        err().print(f"the stack on {folder} has stopped", soft_wrap=True)
        return
    err().print(f"no stack ran on {folder}", style="yellow", soft_wrap=True)
    raise typer.Exit(Exit.NEGATIVE)
