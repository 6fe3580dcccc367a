"""The file of schema ids: only a cache, so a disk that takes or gives nothing stops nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from infra import schema_registry
from infra.schema_registry import SchemaRegistry

SCHEMA = {"type": "record", "name": "Noted", "fields": [{"name": "text", "type": "string"}]}


class Registry(ThreadingHTTPServer):
    """Knows one schema under every id, or none, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_empty = False
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked += 1
        answer: dict[str, object] = {"schema": json.dumps(SCHEMA)}
        if self.server.is_empty:
            answer = {"error_code": 40403, "message": "no such schema"}
        body = json.dumps(answer).encode()
        self.send_response(404 if self.server.is_empty else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "schemas.json"


def taken_by_a_folder(folder: Path) -> Path:
    (folder / "schemas.json").mkdir()
    return folder / "schemas.json"


def with_a_name_too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


@pytest.mark.parametrize("place", [below_a_file, taken_by_a_folder, with_a_name_too_long])
def test_a_schema_is_known_though_its_file_cannot_be_written(
    registry: Registry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: Callable[[Path], Path],
) -> None:
    cache_file = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ids = SchemaRegistry(registry.url, cache_file=cache_file)
    assert [ids.schema_of(7), ids.schema_of(7)] == [SCHEMA, SCHEMA]
    assert registry.asked == 1, "it is kept in memory all the same"
    assert [str(cache_file) in record.message for record in caplog.records] == [True]
    assert sorted(tmp_path.rglob("*")) == before, "no draft stays behind"


def test_a_schema_that_was_met_is_not_asked_for_by_the_next_process(
    registry: Registry, tmp_path: Path
) -> None:
    cache_file = tmp_path / "new folder" / "schemas.json"
    for _ in range(2):
        assert SchemaRegistry(registry.url, cache_file=cache_file).schema_of(7) == SCHEMA
    assert registry.asked == 1
    assert list(cache_file.parent.iterdir()) == [cache_file]


def test_an_id_that_nobody_registered_is_asked_for_now_and_then_only(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of records of a foreign registry would else take longer than a transaction may."""
    monkeypatch.setattr(schema_registry, "UNKNOWN_S", 0.2)
    registry.is_empty = True
    asking = SchemaRegistry(registry.url)
    assert [asking.schema_of(4711) for _ in range(100)] == [None] * 100
    assert registry.asked == 1
    registry.is_empty = False
    deadline = time.monotonic() + 10
    while asking.schema_of(4711) is None:
        assert time.monotonic() < deadline
    assert registry.asked == 2
