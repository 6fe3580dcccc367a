"""`parley topics apply|check`: topics and schemas of the log."""

from __future__ import annotations

import typer

from parley import applying
from parley.exits import Exit
from parley.options import Data, Json, command_group
from parley.talk import log_settings
from parley.terminal import err, out, print_json

app = command_group("Topics and schemas: create what is missing, compare what exists.")


@app.command()
def apply(data: Data = None, as_json: Json = False) -> None:
    """Creates missing topics and registers the schemas, FULL_TRANSITIVE compatible.

    What exists is never changed. Exits 1 if a topic exists in another shape, or if a schema
    changed in a way that its readers could not follow.
    """
    done = applying.apply(log_settings(data))
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
    differences = applying.check(log_settings(data))
    if as_json:
        print_json({"differences": differences})
    elif not differences:
        out().print("topics and schemas are as declared")
    _end_with(differences, quiet=as_json)


def _end_with(differences: tuple[str, ...], *, quiet: bool) -> None:
    if not quiet:
        for sentence in differences:
            err().print(sentence, style="yellow", markup=False, soft_wrap=True)
    if differences:
        raise typer.Exit(Exit.NEGATIVE)
