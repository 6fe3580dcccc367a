"""The stack as a command line sees it: run it, run it in the background, look at it, stop it."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from infra.local import logs
from infra.local.data_folder import DataFolder, open_folder
from infra.local.errors import FolderInUse, PartFailed, StackError
from infra.local.files import read_json, write_json
from infra.local.part import Part, PartFactory, Site
from infra.local.ports import Ports
from infra.local.processes import end_all, spawn
from infra.local.status import STOPPED, PartStatus, StackStatus, State
from infra.local.supervisor import Supervisor

OnChange = Callable[[StackStatus], None]


class Stack:
    """All parts of one data folder.

    `factories` are listed so that every part comes after those it needs; they are only called by
    `run`. `ports` holds the ports that the user insists on, by the name a factory takes them under.
    """

    def __init__(
        self,
        data_dir: Path,
        factories: Sequence[PartFactory] = (),
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._factories = tuple(factories)
        self._ports = dict(ports or {})

    def run(self, on_change: OnChange | None = None) -> None:
        """Starts everything and keeps it running until SIGINT, SIGTERM or SIGHUP.

        A second signal ends the parts without waiting for them. Call it from the main thread.

        Raises:
            FolderInUse, FolderRefused, PortInUse, PartFailed: as they say.
        """
        folder = open_folder(self._data_dir)
        with folder.held(), _stop_signals() as (stop, stop_now):
            report = _Report(folder, on_change)
            _end_leftovers(folder)
            try:
                parts = self._build(folder)
                _publish(folder, parts)
                Supervisor(parts, report, stop, stop_now).run()
            except StackError as error:
                report.failed(error)
                raise
            else:
                report(State.STOPPED, report.parts)
            finally:
                folder.addresses_path.unlink(missing_ok=True)

    def _build(self, folder: DataFolder) -> list[Part]:
        ports = Ports(folder.ports_path, self._ports)
        parts: list[Part] = []
        for factory in self._factories:
            parts.append(factory(Site(folder, ports, _addresses(parts))))
        return parts

    def detach(
        self,
        argv: Sequence[str],
        on_change: OnChange | None = None,
        timeout_s: float = 240.0,
        tied: bool = False,
    ) -> StackStatus:
        """Starts `argv`, a command that calls `run` on the same folder, and waits until it is up.

        With `tied` it is asked to stop when the calling thread ends (on Linux), for tests.

        Raises:
            FolderInUse, FolderRefused: at once.
            PartFailed: the stack did not come up; it has ended.
        """
        folder = open_folder(self._data_dir)
        if holder := folder.holder():
            raise FolderInUse(folder.in_use(holder))
        log_path = folder.logs / "supervisor.log"
        logs.rotate(log_path)
        with log_path.open("ab") as output:
            process = spawn(
                tuple(argv),
                env={},
                cwd=Path.cwd(),
                output=output,
                dies_with_us=signal.SIGTERM if tied else None,
            )
        return self._await_ready(process, log_path, on_change or (lambda _: None), timeout_s)

    def _await_ready(
        self,
        process: subprocess.Popen[bytes],
        log_path: Path,
        on_change: OnChange,
        timeout_s: float,
    ) -> StackStatus:
        """Follows a detached stack until it is ready."""
        deadline = time.monotonic() + timeout_s
        seen: StackStatus | None = None
        while time.monotonic() < deadline:
            # Asked before its status is read, so that the status of an ended one is its last.
            ended = process.poll() is not None
            status = self.status()
            mine = status.supervisor is not None and status.supervisor.pid == process.pid
            if ended:
                raise _start_failure(status if mine else None, log_path)
            if mine and status != seen:
                on_change(status)
                seen = status
            if mine and status.state is State.READY:
                return status
            time.sleep(0.05)
        self.stop()
        raise PartFailed(f"the stack was not ready within {timeout_s:g} s: see {log_path}")

    def status(self) -> StackStatus:
        """What is known of the stack now; a part whose process is gone counts as stopped."""
        folder = DataFolder(self._data_dir.expanduser().resolve())
        found = read_json(folder.parts_path)
        if found is None:
            return STOPPED
        status = StackStatus.from_json(found)
        return status if status.running or status.state is State.FAILED else _gone(status)

    def addresses(self) -> dict[str, str]:
        """The content of `stack.json`; empty if the stack does not run."""
        folder = DataFolder(self._data_dir.expanduser().resolve())
        return dict(read_json(folder.addresses_path) or {})

    def stop(self, timeout_s: float = 60.0) -> bool:
        """Stops the stack and waits until it has ended; False if it did not run."""
        folder = DataFolder(self._data_dir.expanduser().resolve())
        holder = folder.holder()
        if holder is not None:
            holder.end(timeout_s)
        _end_leftovers(folder)
        return holder is not None


class _Report:
    """Writes every change into `run/parts.json` and passes it on."""

    def __init__(self, folder: DataFolder, on_change: OnChange | None) -> None:
        self._folder = folder
        self._on_change = on_change
        self._me = folder.holder()
        self.parts: tuple[PartStatus, ...] = ()

    def __call__(self, state: State, parts: tuple[PartStatus, ...]) -> None:
        self.parts = parts
        self._write(StackStatus(state, self._me, parts))

    def failed(self, error: StackError) -> None:
        log_tail = error.log_tail if isinstance(error, PartFailed) else ""
        self._write(StackStatus(State.FAILED, self._me, self.parts, str(error), log_tail))

    def _write(self, status: StackStatus) -> None:
        write_json(self._folder.parts_path, status.as_json())
        if self._on_change is not None:
            self._on_change(status)


def _start_failure(status: StackStatus | None, log_path: Path) -> PartFailed:
    """Why a detached stack ended: what it recorded, else what it said last."""
    if status is not None and status.failure:
        return PartFailed(status.failure, status.log_tail)
    return PartFailed(f"the stack ended at its start: see {log_path}", logs.tail(log_path))


def _gone(status: StackStatus) -> StackStatus:
    """A stack whose supervisor has ended, as clients should see it."""
    parts = tuple(replace(part, state=State.STOPPED, identity=None) for part in status.parts)
    return replace(status, state=State.STOPPED, parts=parts)


def _publish(folder: DataFolder, parts: Sequence[Part]) -> None:
    write_json(folder.addresses_path, _addresses(parts))


def _addresses(parts: Sequence[Part]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        own = {part.name: part.address} if part.address else {}
        found |= {**own, **part.also_at}
    return found


def _end_leftovers(folder: DataFolder) -> None:
    """Ends parts that outlived a killed supervisor: only Linux does this by itself."""
    found = read_json(folder.parts_path)
    if found is not None:
        parts = StackStatus.from_json(found).parts
        end_all([part.identity for part in parts if part.identity is not None])


@contextmanager
def _stop_signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events that the first and the second signal to stop set."""
    stop, stop_now = threading.Event(), threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        (stop_now if stop.is_set() else stop).set()

    if threading.current_thread() is not threading.main_thread():
        yield stop, stop_now
        return
    before = {each: signal.signal(each, handle) for each in _STOPPING}
    try:
        yield stop, stop_now
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
