"""Downloads pinned files from Maven's repository, side by side, and checks their digests.

What they belong to and where they end up is left to `artifacts`.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from infra.local.errors import FetchFailed
from infra.local.pins import Pin
from infra.local.progress import Progress

_THREADS = 8
_ATTEMPTS = 3


def artifact_of(context: Any, coordinate: str) -> Any:
    """The jgo artifact of a coordinate written as in `Pin`."""
    group, name, packaging, classifier, version = coordinate.split(":")
    component = context.project(group, name).at_version(version)
    return component.artifact(classifier=classifier, packaging=packaging)


def download(label: str, pins: Sequence[Pin], store: Path, progress: Progress) -> list[Path]:
    """Fetches files side by side into `store`, which is laid out as Maven's own cache.

    Raises:
        FetchFailed: the network is away, or a file is not the pinned one.
    """
    total_bytes = sum(pin.size_bytes for pin in pins)
    counter = _Counter(label, total_bytes, progress)
    # Bigger files first, so that none of them is left over for the end.
    ordered = sorted(pins, key=lambda pin: -pin.size_bytes)
    with ThreadPoolExecutor(min(_THREADS, len(ordered))) as pool:
        waiting = [pool.submit(_fetch_file, pin, store, counter) for pin in ordered]
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
        try:
            path: Path = artifact_of(_maven(store, counter), pin.coordinate).resolve()
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
