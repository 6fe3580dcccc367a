"""`parley models pull`: the models that analysis and answering run."""

from __future__ import annotations

import typer

from parley.options import Json
from parley.terminal import out, print_json

app = typer.Typer(
    help="The models that analysis and answering run.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


@app.command()
def pull(as_json: Json = False) -> None:
    """Fetches the model into the cache and verifies it; replaces a damaged one."""
    from infra.inference.artifacts import MODEL_NAME, ModelCache
    from parley.progress import Downloads

    with Downloads() as bars:
        files = ModelCache().pull(bars)
    if as_json:
        print_json({"model": MODEL_NAME, "sha256": files.digest, "path": str(files.weights)})
    else:
        out().print(f"{MODEL_NAME} is in place: {files.weights}", soft_wrap=True)
