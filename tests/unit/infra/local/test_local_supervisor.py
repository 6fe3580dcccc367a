"""How parts are started, healed and stopped, with small processes as parts."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_parts import children_of_this_process, eventually, is_gone, part

from infra.local import Part, PartFailed, PartStatus, Restart, StackError, State
from infra.local.supervisor import Supervisor


class Running:
    """A supervisor in a thread, and the last it reported."""

    def __init__(self, parts: list[Part]) -> None:
        self.stop, self.stop_now = threading.Event(), threading.Event()
        self.state = State.STARTING
        self.parts: dict[str, PartStatus] = {}
        self.order: list[tuple[str, State]] = []
        self.full = threading.Event()
        self.refused = 0
        self._supervisor = Supervisor(parts, self._report, self.stop, self.stop_now)

    def _report(self, state: State, parts: tuple[PartStatus, ...]) -> None:
        if self.full.is_set():
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        for each in parts:
            if each.name not in self.parts or self.parts[each.name].state is not each.state:
                self.order.append((each.name, each.state))
            self.parts[each.name] = each
        self.state = state

    def run(self) -> None:
        self._supervisor.run()

    def until_ready(self) -> None:
        eventually(lambda: self.state is State.READY)


@contextmanager
def running(parts: list[Part]) -> Iterator[tuple[Running, Future[None]]]:
    supervised = Running(parts)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(supervised.run)
        try:
            yield supervised, ended
        finally:
            supervised.stop.set()
            supervised.stop_now.set()


def test_a_part_starts_only_once_the_parts_it_needs_are_ready(tmp_path: Path) -> None:
    gate = threading.Event()
    parts = [
        part("log", tmp_path, ready=gate.is_set),
        part("cache", tmp_path),
        part("worker", tmp_path, needs=("log",)),
    ]
    with running(parts) as (supervised, _):
        eventually(lambda: ("cache", State.READY) in supervised.order)
        assert supervised.parts["worker"].state is State.WAITING
        gate.set()
        supervised.until_ready()
    order = supervised.order
    assert order.index(("log", State.READY)) < order.index(("worker", State.STARTING))


def test_a_full_disk_does_not_end_the_stack_and_the_report_is_made_up_for(tmp_path: Path) -> None:
    """Where the report goes is on the same disk as everything else."""
    with running([part("log", tmp_path)]) as (supervised, ended):
        supervised.until_ready()
        supervised.full.set()
        pid = supervised.parts["log"].pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: supervised.refused > 1)
        assert not ended.done()
        supervised.full.clear()
        eventually(lambda: supervised.parts["log"].pid not in (0, pid))
        supervised.until_ready()


def test_parts_stop_in_reverse_and_leave_no_process_behind(tmp_path: Path) -> None:
    before = children_of_this_process()
    parts = [part("log", tmp_path), part("worker", tmp_path, needs=("log",))]
    with running(parts) as (supervised, ended):
        supervised.until_ready()
        pids = [each.pid for each in supervised.parts.values()]
        supervised.stop.set()
        ended.result(20)
    order = supervised.order
    assert order.index(("worker", State.STOPPED)) < order.index(("log", State.STOPPING))
    assert all(is_gone(pid) for pid in pids)
    assert children_of_this_process() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_part_that_dies_is_started_again_and_counted(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running([part("log", tmp_path), part("cache", tmp_path)]) as (supervised, _):
        supervised.until_ready()
        first, other = supervised.parts["log"].pid, supervised.parts["cache"].pid
        os.kill(first, number)
        eventually(lambda: supervised.parts["log"].restarts == 1)
        eventually(lambda: supervised.parts["log"].state is State.READY)
        assert supervised.parts["log"].pid not in (0, first)
        assert supervised.parts["log"].last_exit == f"was ended by {number.name}"
        assert supervised.parts["cache"].pid == other
        assert is_gone(first)


def test_a_part_that_ends_by_itself_says_why(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    code = (
        "import json, os, sys, time\n"
        "print('up', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "print(json.dumps({'level': 'error', 'message': 'the stage gets nowhere'}))\n"
        "print(json.dumps({'level': 'info', 'message': 'stopping'}), flush=True)\n"
        "sys.exit(3)"
    )
    with running([part("worker", tmp_path, code)]) as (supervised, _):
        supervised.until_ready()
        gate.touch()
        eventually(lambda: supervised.parts["worker"].restarts >= 1)
        said = supervised.parts["worker"].last_exit
    assert said == "ended with exit code 3: the stage gets nowhere"


def test_a_part_is_started_again_although_one_it_needs_is_down(tmp_path: Path) -> None:
    log = part("log", tmp_path, restart=Restart(first_delay_s=60))
    with running([log, part("worker", tmp_path, needs=("log",))]) as (supervised, _):
        supervised.until_ready()
        for name in ("log", "worker"):
            os.kill(supervised.parts[name].pid, signal.SIGKILL)
        eventually(lambda: supervised.parts["worker"].restarts == 1)
        eventually(lambda: supervised.parts["worker"].state is State.READY)
        assert supervised.parts["log"].state is State.RESTARTING


def test_restarts_of_a_part_that_keeps_dying_come_at_growing_distances(tmp_path: Path) -> None:
    # Ready at once, dead at once: only the delay between two starts keeps it from spinning.
    dies = "print('up')"
    restart = Restart(first_delay_s=0.05, longest_delay_s=0.4)
    flag = tmp_path / "stays"
    stays_first = f"import os, signal; print('up', flush=True); os.path.exists({str(flag)!r}) or ("
    code = stays_first + f"open({str(flag)!r}, 'w').close() or signal.pause()); {dies}"
    with running([part("log", tmp_path, code, restart=restart)]) as (supervised, ended):
        supervised.until_ready()
        began = time.monotonic()
        os.kill(supervised.parts["log"].pid, signal.SIGKILL)
        eventually(lambda: supervised.parts["log"].restarts >= 5)
        assert time.monotonic() - began >= 0.05 + 0.1 + 0.2 + 0.4 + 0.4
        assert not ended.done()


def test_a_part_that_dies_at_its_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    code = "print('line of the part'); raise SystemExit(3)"
    began = time.monotonic()
    with running([part("log", tmp_path), part("bad", tmp_path, code)]) as (
        supervised,
        ended,
    ):
        with pytest.raises(PartFailed, match="bad ended with exit code 3") as caught:
            ended.result(10)
        assert time.monotonic() - began < 10
    assert "line of the part" in caught.value.log_tail
    assert str(tmp_path / "bad.log") in str(caught.value)
    assert is_gone(supervised.parts["log"].pid)
    assert supervised.parts["log"].state is State.STOPPED


def test_a_part_whose_program_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = Part(
        name="ghost",
        version="1",
        argv=(str(tmp_path / "no-such-program"),),
        log_path=tmp_path / "ghost.log",
        ready=lambda: False,
    )
    with (
        running([missing]) as (_, ended),
        pytest.raises(PartFailed, match="ghost") as caught,
    ):
        ended.result(10)
    assert "no-such-program" in caught.value.log_tail


def test_a_part_that_never_gets_ready_is_ended_at_its_deadline(tmp_path: Path) -> None:
    slow = part("slow", tmp_path, ready=lambda: False, ready_timeout_s=0.3)
    with (
        running([slow]) as (_, ended),
        pytest.raises(PartFailed, match=r"slow was not ready within 0\.3 s"),
    ):
        ended.result(10)


def test_a_failing_preparation_stops_the_start_with_its_sentence(tmp_path: Path) -> None:
    def prepare() -> None:
        raise StackError("topic a has 4 partitions, 6 expected")

    with (
        running([part("worker", tmp_path, prepare=prepare)]) as (_, ended),
        pytest.raises(PartFailed, match="worker could not be prepared: topic a has 4 partitions"),
    ):
        ended.result(10)


def test_a_part_that_ignores_the_signal_to_stop_is_killed_in_time(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"
    code = deaf + "\nwhile True: signal.pause()"
    with running([part("deaf", tmp_path, code, stop_timeout_s=0.3)]) as (supervised, ended):
        supervised.until_ready()
        pid = supervised.parts["deaf"].pid
        supervised.stop.set()
        ended.result(10)
    assert is_gone(pid)


def test_children_of_a_part_end_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, signal\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "print(child.pid, 'up', flush=True); signal.pause()"
    )
    with running([part("parent", tmp_path, code)]) as (supervised, ended):
        supervised.until_ready()
        grandchild = int((tmp_path / "parent.log").read_text().split()[0])
        supervised.stop.set()
        ended.result(20)
    eventually(lambda: is_gone(grandchild))


def test_a_part_may_only_need_earlier_ones(tmp_path: Path) -> None:
    parts = [part("worker", tmp_path, needs=("log",)), part("log", tmp_path)]
    with pytest.raises(StackError, match="part worker needs log"):
        Running(parts)


def test_the_log_of_the_run_before_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "log.log").write_text("from before")
    with running([part("log", tmp_path)]) as (supervised, _):
        supervised.until_ready()
    assert (tmp_path / "log.log.1").read_text() == "from before"
    assert (tmp_path / "log.log").read_text() == "up\n"
