"""Options that many commands share, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas.identifiers import is_client_id

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="PARLEY_DATA_DIR",
        metavar="DIR",
        help="The stack's data folder; ./data if nothing is said.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="T", help="The tenant to speak for.")]


def client_id(text: str | None) -> str | None:
    """Refuses what can't name a conversation; a callback for `typer.Option`."""
    if text is not None and not is_client_id(text):
        raise typer.BadParameter("a conversation's id is 1 to 64 of A-Z, a-z, 0-9, _ and -")
    return text


def command_group(help_text: str) -> typer.Typer:
    """A command that has commands of its own."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
    )


def filled(text: str) -> str:
    """Refuses an argument that says nothing; also a callback for `typer.Argument`."""
    if not text.strip():
        raise typer.BadParameter("says nothing: write something between the quotes")
    return text
