"""How the programs of the stack are fetched, from a repository on loopback."""

from __future__ import annotations

import hashlib
import socket
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local import FetchFailed
from infra.local.artifacts import ensure, flatten, unpack
from infra.local.pins import Distribution, Pin, distributions

CONTENT = {"one": b"1" * 300_000, "two": b"2" * 200_000}


class Repository:
    """A Maven repository that counts its requests and can be made to fail."""

    def __init__(self, folder: Path) -> None:
        self.jars: list[str] = []
        self.failures_left = 0
        for name, content in CONTENT.items():
            path = folder / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        handler = partial(_Handler, self, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, repository: Repository, *arguments: object, **options: object) -> None:
        self._repository = repository
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path.endswith(".jar"):
            self._repository.jars.append(self.path)
            if self._repository.failures_left:
                self._repository.failures_left -= 1
                self._cut_off()
                return
        super().do_GET()

    def _cut_off(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "300000")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Watched:
    """Remembers the reports it gets."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int | None]] = []
        self.ended: list[str] = []

    def advanced(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        assert label == "tool 1.0"
        self.reports.append((done_bytes, total_bytes))

    def finished(self, label: str) -> None:
        self.ended.append(label)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    found = Repository(tmp_path / "repository")
    _use(found.port, tmp_path, monkeypatch)
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def _use(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a server the only repository, as a company's mirror would be."""
    config = tmp_path / "jgo.conf"
    config.write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))


def tool(content: dict[str, bytes] = CONTENT) -> Distribution:
    pins = [
        Pin(f"org.example:{name}:jar::1.0", hashlib.sha256(each).hexdigest(), len(each))
        for name, each in content.items()
    ]
    return Distribution("tool", "1.0", tuple(pins))


def test_files_are_fetched_once_and_their_bytes_are_counted(
    repository: Repository, tmp_path: Path
) -> None:
    cache, progress = tmp_path / "cache", Watched()
    folder = ensure(tool(), cache, flatten, progress)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == {
        f"{name}-1.0.jar": content for name, content in CONTENT.items()
    }
    assert progress.reports[:2] == [(0, None), (0, 500_000)]
    assert progress.reports[-1] == (500_000, 500_000)
    assert progress.ended == ["tool 1.0"]
    assert len(repository.jars) == 2
    assert ensure(tool(), cache, flatten, progress) == folder
    assert len(repository.jars) == 2


def test_a_file_that_is_cut_off_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    repository.failures_left = 1
    folder = ensure(tool(), tmp_path / "cache", flatten, Watched())
    assert sorted(each.stat().st_size for each in folder.iterdir()) == [200_000, 300_000]
    assert len(repository.jars) == 3


def test_a_file_with_another_digest_is_refused_and_nothing_is_kept(
    repository: Repository, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    wrong = tool({**CONTENT, "two": b"3" * 200_000})
    with pytest.raises(FetchFailed, match=r"org\.example:two.*sha256 is [0-9a-f]{64}"):
        ensure(wrong, cache, flatten, Watched())
    assert [each.name for each in cache.iterdir() if not each.name.startswith(".")] == []
    assert not list(cache.glob(".tool-1.0-*"))


def test_an_unreachable_repository_is_said_in_one_sentence_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        _use(server.getsockname()[1], tmp_path, monkeypatch)
    with pytest.raises(FetchFailed, match="does not answer; check the network"):
        ensure(tool(), tmp_path / "cache", flatten, Watched())


def test_two_that_fetch_at_once_download_once(repository: Repository, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(2) as pool:
        both = [Watched(), Watched()]
        folders = list(pool.map(lambda each: ensure(tool(), cache, flatten, each), both))
    assert folders[0] == folders[1]
    assert [each.ended for each in both] == [["tool 1.0"], ["tool 1.0"]]
    assert len(repository.jars) == 2


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FetchFailed, match="PARLEY_CACHE"):
        ensure(tool(), tmp_path / "file" / "cache", flatten, Watched())


def test_every_pin_names_one_version_and_one_digest() -> None:
    for distribution in distributions():
        for pin in distribution.files:
            assert len(pin.coordinate.split(":")) == 5
            assert len(pin.sha256) == 64
            assert pin.size_bytes > 0
    kafka, _ = distributions()
    names = {pin.coordinate.split(":")[1] for pin in kafka.files}
    assert {"kafka_2.13", "log4j-slf4j-impl"} <= names


def test_archives_open_on_the_first_pythons_of_3_11_which_know_no_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 12 has 3.11.2; `filter` came with 3.11.4."""
    (tmp_path / "server.jar").write_bytes(b"code")
    archive = tmp_path / "server.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "server.jar", "lib/server.jar")
    extract = tarfile.TarFile.extractall

    def as_in_3_11_2(tar: tarfile.TarFile, path: Path) -> None:
        extract(tar, path)

    monkeypatch.setattr(tarfile.TarFile, "extractall", as_in_3_11_2)
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    unpack([archive], tmp_path / "ready")
    assert (tmp_path / "ready" / "lib" / "server.jar").read_bytes() == b"code"


def test_an_archive_writes_nowhere_else(tmp_path: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python has no filters for archives")
    archive = tmp_path / "server.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        (tmp_path / "evil").write_bytes(b"")
        tar.add(tmp_path / "evil", "../outside")
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack([archive], tmp_path / "ready")
