"""The embedded stack of one data folder as commands use it: fetch, run, detach, look, stop."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from infra.inference.artifacts import ModelCache
from infra.local import Stack, StackStatus, fetch
from infra.local.data_folder import DataFolder, open_folder
from infra.local.files import read_json, write_json
from infra.local.ports import Ports, is_free
from infra.local.stack import OnChange
from parley.local_parts import PORT_NAMES, embedded_parts, insisted_ports
from parley.progress import Downloads

_SCATTERED = range(20_000, 32_000)
"""Below the usual ranges of ports that outgoing connections take."""


def folder_of(data: Path | None) -> Path:
    """The data folder that a command means."""
    from infra.settings import load_settings

    return load_settings(data).data_dir


def fetch_everything(data_dir: Path) -> None:
    """Fetches the programs and the model where they are not there yet, with progress bars.

    The model goes where the parts of this stack will look for it.
    """
    from infra.settings import load_settings

    cache = ModelCache(load_settings(data_dir).inference.model_cache)
    with Downloads() as bars:
        fetch(bars)
        cache.ensure(bars)


def run(data_dir: Path, on_change: OnChange) -> None:
    """Runs the stack until a signal. Raises as `infra.local.Stack.run` does."""
    parts = embedded_parts(fetch(), data_dir)
    Stack(data_dir, parts, insisted_ports(data_dir)).run(on_change)


def scatter_ports(data_dir: Path) -> None:
    """Chooses random free ports for a new stack, so that many can start at once on one machine."""
    folder = open_folder(data_dir)
    if folder.ports_path.exists():
        return
    free = (port for port in random.sample(_SCATTERED, k=len(_SCATTERED)) if is_free(port))
    write_json(folder.ports_path, dict(zip(PORT_NAMES, free, strict=False)))


def detach(data_dir: Path, on_change: OnChange, *, tied: bool = False) -> StackStatus:
    """Starts the stack in the background and waits until all parts are ready.

    With `tied` it stops when the calling thread ends, for tests.
    """
    _refuse_taken_ports(data_dir)
    argv = (sys.executable, "-m", "parley", "up", "--data", str(data_dir), "--plain")
    return Stack(data_dir).detach(argv, on_change, tied=tied)


def _refuse_taken_ports(data_dir: Path) -> None:
    """Tells at once, and by its own kind of error, what the process in the background would find.

    Raises:
        PortInUse: somebody set a port, and somebody else listens on it.
    """
    folder = open_folder(data_dir)
    if folder.holder() is None:
        for name, port in insisted_ports(data_dir).items():
            Ports(folder.ports_path, {name: port}).take(name, port)


def ports(data_dir: Path) -> dict[str, int]:
    """The ports that the stack took, by name."""
    return dict(read_json(DataFolder(data_dir).ports_path) or {})
