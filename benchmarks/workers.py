"""A worker process with the conversation stage, for as long as a benchmark needs it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import uvloop

from infra.settings import load_settings
from parley.processes.worker import Stages
from parley.wiring import Wiring

DEADLINE_US = 10**12


class Worker:
    """One process. `core` pins it there."""

    def __init__(self, addresses: dict[str, str], core: int | None, folder: str) -> None:
        context = get_context("spawn")
        self._stop = context.Event()
        arguments = (addresses, core, folder, self._stop)
        self._process: BaseProcess = context.Process(target=_run_worker, args=arguments)
        self._process.start()

    def stop(self) -> None:
        """Lets it leave in good order; one that is dead already would never hear of it."""
        if self._process.is_alive():
            self._stop.set()
            self._process.join(30)
            self.kill()

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._process.kill()
        self._process.join()


@contextmanager
def worker(addresses: dict[str, str], core: int | None = None) -> Iterator[Worker]:
    """A worker, for the length of a `with` block at most."""
    with tempfile.TemporaryDirectory(prefix="parley-bench-worker-") as folder:
        process = Worker(addresses, core, folder)
        try:
            yield process
        finally:
            process.stop()


def _run_worker(addresses: dict[str, str], core: int | None, folder: str, stop: Any) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    settings = load_settings(
        folder,
        kafka__bootstrap_servers=addresses["kafka"],
        registry__url=addresses["registry"],
        # Nothing may expire in the middle of a measurement.
        conversation__analysis_deadline_ms=DEADLINE_US // 1000,
        conversation__turn_deadline_ms=DEADLINE_US // 1000,
        conversation__queued_messages_max=10**6,
    )

    async def main() -> None:
        stopping = asyncio.Event()
        waiting = asyncio.ensure_future(asyncio.to_thread(stop.wait))
        waiting.add_done_callback(lambda _: stopping.set())
        wiring = Wiring(settings, "bench")
        await Stages(wiring, ["conversation"]).run(stopping)
        wiring.close()

    uvloop.run(main())
