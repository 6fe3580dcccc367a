"""`parley topics apply|check`: topics and schemas of the log."""

from __future__ import annotations

from pathlib import Path

import typer

from infra.settings import Settings, load_settings
from parley import applying
from parley.exits import Exit
from parley.options import Data, Json
from parley.talk import require_address
from parley.terminal import err, out, print_json

app = typer.Typer(
    help="Topics and schemas: create what is missing, compare what exists.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


@app.command()
def apply(data: Data = None, as_json: Json = False) -> None:
    """Creates missing topics and registers the schemas, FULL_TRANSITIVE compatible.

    What exists is never changed. Exits 1 if a topic exists in another shape, or if a schema
    changed in a way that its readers could not follow.
    """
    done = applying.apply(_settings(data))
    if as_json:
        report = {"created": done.created, "schemas": done.schemas, "differences": done.differences}
        print_json(report)
    else:
        for name in done.created:
            out().print(f"created {name}")
        out().print(f"{done.schemas} schemas are registered")
    _end_with(done.differences, quiet=as_json)


@app.command()
def check(data: Data = None, as_json: Json = False) -> None:
    """Says where topics and schemas differ from what the code declares. Exits 1 on any."""
    differences = applying.check(_settings(data))
    if as_json:
        print_json({"differences": differences})
    elif not differences:
        out().print("topics and schemas are as declared")
    _end_with(differences, quiet=as_json)


def _settings(data: Path | None) -> Settings:
    settings = load_settings(data)
    require_address(settings, "kafka.bootstrap_servers")
    return settings


def _end_with(differences: tuple[str, ...], *, quiet: bool) -> None:
    if not quiet:
        for sentence in differences:
            err().print(sentence, style="yellow", markup=False, soft_wrap=True)
    if differences:
        raise typer.Exit(Exit.NEGATIVE)
