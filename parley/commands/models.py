"""`parley models pull`: the models that analysis and answering run."""

from __future__ import annotations

from parley.options import Data, Json, command_group
from parley.terminal import out, print_json

app = command_group("The models that analysis and answering run.")


@app.callback()
def models() -> None:
    """The models that analysis and answering run."""


@app.command()
def pull(data: Data = None, as_json: Json = False) -> None:
    """Fetches the model into the cache and verifies it; replaces a damaged one.

    The cache is a folder of the user, or the one of the setting inference.model_cache.
    """
    from infra.inference.artifacts import MODEL_NAME, ModelCache
    from infra.settings import load_settings
    from parley.progress import Downloads

    cache = ModelCache(load_settings(data).inference.model_cache)
    with Downloads() as bars:
        files = cache.pull(bars)
    if as_json:
        print_json({"model": MODEL_NAME, "sha256": files.digest, "path": str(files.weights)})
    else:
        out().print(f"{MODEL_NAME} is in place: {files.weights}", soft_wrap=True)
