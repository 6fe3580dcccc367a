"""A stack of small parts on a data folder, run in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_parts import eventually, is_gone

from infra.local import FolderInUse, FolderRefused, PartFailed, PortInUse, Stack, StackStatus, State
from infra.local.processes import Identity

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from small_parts import factory
from infra.local import Stack
Stack(Path(sys.argv[1]), [factory("log"), factory("cache"{code})]).run()
"""


def command(data: Path, code: str = "") -> list[str]:
    """A process that runs two small parts, the second with `code` if given."""
    extra = f", {code!r}" if code else ""
    script = RUN.format(here=str(Path(__file__).parent), code=extra)
    return [sys.executable, "-c", script, str(data)]


@contextmanager
def up(data: Path) -> Iterator[tuple[Stack, StackStatus]]:
    stack = Stack(data)
    status = stack.detach(command(data), timeout_s=30, tied=True)
    try:
        yield stack, status
    finally:
        stack.stop(20)


def test_a_detached_stack_is_up_when_detach_returns_and_gone_after_stop(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    with up(data) as (stack, status):
        assert status.state is State.READY
        assert stack.status() == status
        assert stack.addresses() == {
            "log": "test://log",
            "cache": "test://cache",
            "cache-metrics": "test://cache/metrics",
        }
        assert json.loads((data / "stack.json").read_text()) == stack.addresses()
        assert all(each.rss_bytes() > 1_000_000 for each in status.parts)
        pids = [each.pid for each in status.parts]
        assert stack.stop(20) is True
        assert all(is_gone(pid) for pid in pids)
        assert stack.status().state is State.STOPPED
        assert stack.addresses() == {}
        assert stack.stop(20) is False


def test_only_the_owner_may_look_into_the_folder(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    with up(data):
        assert data.stat().st_mode & 0o777 == 0o700
        assert (data / "logs").stat().st_mode & 0o777 == 0o700


def test_a_second_stack_on_the_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    with up(data) as (stack, status):
        assert status.supervisor is not None
        with pytest.raises(FolderInUse, match=f"in use by process {status.supervisor.pid}"):
            Stack(data).run()
        with pytest.raises(FolderInUse, match="stop that one"):
            stack.detach(command(data), tied=True)
        assert stack.status() == status


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what is left")
def test_parts_die_with_a_killed_supervisor_and_the_next_start_finds_a_free_folder(
    tmp_path: Path,
) -> None:
    data = tmp_path / "stack"
    with up(data) as (stack, status):
        assert status.supervisor is not None
        os.kill(status.supervisor.pid, signal.SIGKILL)
        eventually(lambda: all(is_gone(each.pid) for each in status.parts))
        assert stack.status().state is State.STOPPED
        with up(data) as (_, again):
            assert again.state is State.READY


def test_a_part_left_over_from_a_killed_supervisor_is_ended_at_the_next_start(
    tmp_path: Path,
) -> None:
    data = tmp_path / "stack"
    left_over = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        with up(data) as (stack, _):
            stack.stop(20)
            _record(data, left_over.pid)
            with up(data):
                eventually(lambda: left_over.poll() is not None)
    finally:
        left_over.kill()
        left_over.wait()


def test_a_process_that_took_over_the_number_of_a_part_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        with up(data) as (stack, _):
            stack.stop(20)
            _record(data, stranger.pid, earlier_s=5.0)
            with up(data):
                assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def _record(data: Path, pid: int, earlier_s: float = 0.0) -> None:
    """Writes a process into `parts.json` as if a killed supervisor had left it."""
    path = data / "run" / "parts.json"
    content = json.loads(path.read_text())
    identity = Identity.of(pid).as_json()
    identity["process_started"] -= earlier_s
    content["parts"][0].update(identity)
    path.write_text(json.dumps(content))


DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n"
    "while True: signal.pause()"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_foreground_stops_everything_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    data = tmp_path / "stack"
    foreground = subprocess.Popen(command(data))
    eventually(lambda: Stack(data).status().state is State.READY)
    pids = [each.pid for each in Stack(data).status().parts]
    foreground.send_signal(number)
    assert foreground.wait(20) == 0
    assert all(is_gone(pid) for pid in pids)


def test_a_second_signal_does_not_wait_for_a_part_that_will_not_stop(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    foreground = subprocess.Popen(command(data, DEAF))
    eventually(lambda: Stack(data).status().state is State.READY)
    foreground.send_signal(signal.SIGINT)
    eventually(lambda: Stack(data).status().part("cache").state is State.STOPPING)
    foreground.send_signal(signal.SIGINT)
    # Far below the 10 s that the part would be given.
    assert foreground.wait(5) == 0


def test_the_failure_of_a_detached_start_says_what_the_part_said(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    failing = command(data, "print('disk on fire'); raise SystemExit(7)")
    with pytest.raises(PartFailed, match="cache ended with exit code 7") as caught:
        Stack(data).detach(failing, timeout_s=30, tied=True)
    assert "disk on fire" in caught.value.log_tail
    assert Stack(data).status().state is State.FAILED
    assert all(is_gone(each.pid) for each in Stack(data).status().parts if each.pid)


def test_a_folder_written_by_a_newer_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    data.mkdir()
    (data / "format.json").write_text('{"format": 99}')
    with pytest.raises(FolderRefused, match=r"newer version \(format 99") as caught:
        Stack(data).run()
    assert "use another folder" in str(caught.value)


def test_a_folder_that_holds_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "home"
    data.mkdir(mode=0o755)
    (data / "letter.txt").write_text("dear")
    with pytest.raises(FolderRefused, match="holds something else"):
        Stack(data).run()
    assert data.stat().st_mode & 0o777 == 0o755
    assert [each.name for each in data.iterdir()] == ["letter.txt"]


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    def build(site: object) -> object:
        return site.ports.take("log", 9092)  # type: ignore[attr-defined]

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stack = Stack(tmp_path / "stack", [build], ports={"log": port})  # type: ignore[list-item]
        with pytest.raises(PortInUse, match=f"port {port}, asked for log, is in use by process"):
            stack.run()
    assert stack.status().failure.startswith(f"port {port}")
