"""`parley knowledge import`: what a tenant's answers rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from parley.options import Data, Json, command_group
from parley.terminal import err, out, print_json

NAMED_MAX = 3

app = command_group("A tenant's knowledge base, which answers are taken from.")


@app.callback()
def knowledge() -> None:
    """A tenant's knowledge base, which answers are taken from."""


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="Markdown, HTML or CSV: a file or a folder.")],
    tenant: Annotated[str, typer.Option("--tenant", metavar="T", help="Whose knowledge it is.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Reads documents, cuts and embeds them, and puts them into the log.

    Workers answer from them within a second. A document of the same id replaces the one before.
    A CSV has columns "question" and "answer". Files of other kinds are named and passed over.

    Example:

      parley knowledge import help-centre/ --tenant demo
    """
    from infra.knowledge_files import passed_over, read_knowledge
    from parley.knowledge_import import import_documents
    from parley.progress import counting
    from parley.talk import log_settings
    from parley.wiring import Wiring

    documents = read_knowledge(path)
    _name(passed_over(path))
    settings = log_settings(data)
    wiring = Wiring(settings, "knowledge import")
    with counting() as bar:
        task = bar.add_task(f"embedding for {tenant}", total=len(documents))
        done = import_documents(wiring, tenant, documents, lambda more: bar.advance(task, more))
    if as_json:
        counts = {"documents": done.documents, "passages": done.passages}
        print_json({"tenant": tenant, **counts, "questions": done.questions})
    else:
        out().print(
            f"{done.documents} documents with {done.passages} passages are in the log "
            f"for tenant {tenant}"
        )


def _name(files: Sequence[Path]) -> None:
    """Says which files of a folder were of no use."""
    if not files:
        return
    named = ", ".join(file.name for file in files[:NAMED_MAX])
    more = f" and {len(files) - NAMED_MAX} more" if len(files) > NAMED_MAX else ""
    count = f"{len(files)} file{'s' if len(files) > 1 else ''} of other kinds"
    err().print(Text(f"{count} passed over: {named}{more}", "yellow"), soft_wrap=True)
