"""One part through its life: started, found ready, started again when it dies, stopped.

Nothing here waits: `tick` is called over and over, always from the thread that owns the processes.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import psutil

from infra.local import logs
from infra.local.errors import PartFailed, StackError
from infra.local.part import Part
from infra.local.processes import Identity, signal_group, spawn
from infra.local.status import PartStatus, State

logger = logging.getLogger(__name__)

_READY_AGAIN_S = 0.05
"""Between two questions whether a part is ready."""


class Runner:
    """Runs one part. `pool` answers what may take long: `Part.prepare` and `Part.ready`."""

    def __init__(self, part: Part, pool: ThreadPoolExecutor) -> None:
        self.part = part
        self.state = State.WAITING
        self._pool = pool
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None
        self._preparing: Future[None] | None = None
        self._asking: Future[bool] | None = None
        self._ask_at = 0.0
        self._deadline = 0.0
        self._ready_since: float | None = None
        self._was_ready = False
        self._start_at = 0.0
        self._delay_s = part.restart.first_delay_s
        self._started_at = 0.0
        self._restarts = 0
        self._last_exit = ""
        self._log_start = 0
        logs.rotate(part.log_path)

    def status(self) -> PartStatus:
        """For `run/parts.json`."""
        return PartStatus(
            name=self.part.name,
            version=self.part.version,
            address=self.part.address,
            state=self.state,
            identity=self._identity,
            started_at=self._started_at,
            restarts=self._restarts,
            last_exit=self._last_exit,
            log=str(self.part.log_path),
        )

    @property
    def done(self) -> bool:
        """Whether no process is left and none will be started."""
        return self.state in (State.STOPPED, State.FAILED)

    def tick(self, may_start: bool) -> None:
        """Goes one step further; `may_start` says that the parts it needs are ready.

        Raises:
            PartFailed: it did not come up at its first start.
        """
        now = time.monotonic()
        match self.state:
            case State.WAITING if may_start:
                self._start(now)
            case State.RESTARTING if now >= self._start_at:
                # Whatever it needs: it lived through their absence before, and can wait by itself.
                self._start(now)
            case State.STARTING if self._preparing is not None:
                self._after_prepare(now)
            case State.STARTING:
                self._await_ready(now)
            case State.READY:
                self._watch(now)
            case State.STOPPING:
                self._await_end(now)

    def _start(self, now: float) -> None:
        if self.state is State.RESTARTING:
            self._restarts += 1
        self.state = State.STARTING
        self._deadline = now + self.part.ready_timeout_s
        self._started_at = time.time()
        self._ask_at, self._asking, self._ready_since = 0.0, None, None
        if self.part.prepare is None:
            self._spawn()
        else:
            self._preparing = self._pool.submit(self.part.prepare)

    def _after_prepare(self, now: float) -> None:
        assert self._preparing is not None
        if not self._preparing.done():
            return
        error = self._preparing.exception()
        self._preparing = None
        if error is None:
            self._spawn()
        else:
            log_tail = error.log_tail if isinstance(error, PartFailed) else ""
            says = str(error) if isinstance(error, StackError) else f"{error!r}"
            self._failed(f"could not be prepared: {says}", now, log_tail)

    def _spawn(self) -> None:
        path = self.part.log_path
        with path.open("ab") as output:
            self._log_start = output.tell()
            self._process = spawn(
                self.part.argv,
                env=self.part.env,
                cwd=self.part.cwd or path.parent,
                output=output,
            )
        with suppress(psutil.NoSuchProcess):
            self._identity = Identity.of(self._process.pid)

    def _await_ready(self, now: float) -> None:
        if self._ended(now):
            return
        if self._asking is not None and self._asking.done():
            if self._asking.exception() is None and self._asking.result():
                self.state, self._ready_since, self._was_ready = State.READY, now, True
                return
            self._asking, self._ask_at = None, now + _READY_AGAIN_S
        if self._asking is None and now >= self._ask_at:
            self._asking = self._pool.submit(self.part.ready)
        if now > self._deadline:
            self._kill()
            self._failed(f"was not ready within {self.part.ready_timeout_s:g} s", now)

    def _watch(self, now: float) -> None:
        if self._ended(now):
            return
        if self._ready_since is not None and now - self._ready_since > self.part.restart.steady_s:
            self._delay_s, self._ready_since = self.part.restart.first_delay_s, None

    def _ended(self, now: float) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return False
        self._kill()
        why = logs.last_error(self.part.log_path, self._log_start) if code > 0 else ""
        self._failed(f"{_ending(code)}: {why}" if why else _ending(code), now)
        return True

    def _failed(self, what: str, now: float, log_tail: str = "") -> None:
        """Records the failure and plans the next start, or gives up at the first one."""
        self._last_exit = what
        self._process, self._identity = None, None
        name = self.part.name
        if not self._was_ready:
            self.state = State.FAILED
            raise PartFailed(
                f"{name} {what} while it was starting: see {self.part.log_path}",
                log_tail or logs.tail(self.part.log_path, self._log_start),
            )
        if not self.part.restart.always:
            self.state = State.FAILED
            logger.error("%s %s and is not started again", name, what)
            return
        logger.warning("%s %s: starting it again in %.1f s", name, what, self._delay_s)
        self.state = State.RESTARTING
        self._start_at = now + self._delay_s
        self._delay_s = min(2 * self._delay_s, self.part.restart.longest_delay_s)

    def stop(self) -> None:
        """Asks the process to end; `tick` sees to the rest."""
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._stopped()
        elif self.state is not State.STOPPING:
            self.state = State.STOPPING
            self._deadline = time.monotonic() + self.part.stop_timeout_s
            with suppress(ProcessLookupError):
                self._process.send_signal(self.part.stop_signal)

    def kill(self) -> None:
        """Ends the process at once."""
        self._kill()
        self._stopped()

    def _await_end(self, now: float) -> None:
        assert self._process is not None
        if self._process.poll() is None and now <= self._deadline:
            return
        if self._process.poll() is None:
            logger.warning("%s did not stop in time and is killed", self.part.name)
        self.kill()

    def _kill(self) -> None:
        """Ends the process and whatever it started, and reaps it."""
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)
            self._process.wait()

    def _stopped(self) -> None:
        self._process, self._identity = None, None
        self.state = State.STOPPED

    def bound_log(self) -> None:
        """Keeps the log file from growing for ever."""
        logs.bound(self.part.log_path)


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
