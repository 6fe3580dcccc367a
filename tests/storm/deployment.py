"""The stack of a storm: more processes of each kind than a laptop needs, each with fault points.

`python deployment.py FOLDER` runs it until it is told to stop.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROCESS = Path(__file__).with_name("process.py")
WORKERS = {
    "worker-1": "conversation,analysis,answering",
    "worker-2": "conversation,analysis,answering",
    "worker-redis": "redis",
}
GATEWAYS = ("gateway", "gateway-2")
SETTINGS = """\
[answering]
provider = "openai"
base_url = "{provider}"
api_key = "storm"
model = "storm"
first_token_timeout_ms = 3000
idle_timeout_ms = 3000

[conversation]
turn_deadline_ms = 30000
"""
"""Patience is short, so that a storm of minutes meets every limit."""


@contextmanager
def deployed(folder: Path, provider_url: str) -> Iterator[None]:
    """The stack on a fresh folder, until the block ends."""
    from infra.local import Stack
    from parley.local_stack import fetch_everything, scatter_ports

    from .process import FOLDER
    from .small_disk import small_disk

    folder.mkdir()
    with small_disk(folder):
        fetch_everything(folder)
        scatter_ports(folder)
        (folder / FOLDER).mkdir()
        (folder / "settings.toml").write_text(SETTINGS.format(provider=provider_url))
        try:
            Stack(folder).detach([sys.executable, __file__, str(folder)], tied=True)
            yield
        finally:
            Stack(folder).stop()


def main(folder: Path) -> None:
    """Runs the stack in the foreground."""
    from infra.local import Stack, fetch
    from parley.local_parts import Layout, embedded_parts
    from tests.storm.network import is_installed, with_links

    layout = Layout(WORKERS, GATEWAYS, (sys.executable, str(PROCESS)))
    parts = embedded_parts(fetch(), folder, layout)
    Stack(folder, with_links(parts) if is_installed() else parts).run()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(Path(sys.argv[1]))
