"""What happens to log files."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from infra.local import logs


def test_a_log_that_grew_too_long_goes_on_empty_while_its_writer_keeps_it_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / "part.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 1000)
        logs.bound(path, largest_bytes=999)
        writer.write(b"after\n")
    assert path.read_bytes() == b"after\n"
    assert (tmp_path / "part.log.1").read_bytes() == b"x" * 1000


def test_a_log_that_grew_too_long_makes_room_where_there_is_none_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:500])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logs.shutil, "copyfile", half)
    path = tmp_path / "part.log"
    path.write_bytes(b"x" * 1000)
    logs.bound(path, largest_bytes=999)
    assert path.read_bytes() == b""
    assert not (tmp_path / "part.log.1").exists()


def test_a_log_of_allowed_length_stays(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_bytes(b"x" * 1000)
    logs.bound(path, largest_bytes=1000)
    assert path.stat().st_size == 1000
    assert not (tmp_path / "part.log.1").exists()


def test_the_tail_holds_the_last_lines_after_the_start(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("before\n" + "".join(f"line {n}\n" for n in range(40)))
    assert logs.tail(path, start=7, lines=2) == "line 38\nline 39"
    assert "before" not in logs.tail(path, start=7, lines=100)


def test_the_tail_of_a_log_that_was_bounded_since_the_start_is_its_content(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("after\n")
    assert logs.tail(path, start=1_000_000) == "after"
