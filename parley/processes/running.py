"""The life of a process: start, serve health and metrics, wait for a signal or a failure, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvloop

from infra.keys.errors import KeyStoreUnusable
from infra.settings.loading import Settings
from infra.telemetry.http import PortTaken, serve_telemetry
from infra.telemetry.logging import set_up_logging
from parley.garbage import collect_rarely
from parley.wiring import Wiring
from schemas.failures import Unavailable
from streams.batch import StageLost
from streams.batch_source import BatchSource
from streams.liveness import watch
from streams.positions import LogEnds
from streams.worker import Worker

log = logging.getLogger(__name__)

OK, FAILED, UNREACHABLE, REFUSED = 0, 1, 3, 4

Body = Callable[[Wiring, asyncio.Event], Awaitable[int]]


def run_process(settings: Settings, service: str, body: Body) -> int:
    """Runs `body` until it returns its exit code; the event is set when it should stop.

    A dependency that is away at the start ends the process with one sentence.
    """
    set_up_logging(settings.telemetry, service)

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        wiring = Wiring(settings, service)
        try:
            return await body(wiring, stop)
        except (Unavailable, StageLost) as error:
            log.error("%s can't start: %s", service, error)
            return UNREACHABLE
        except (KeyStoreUnusable, PortTaken) as error:
            log.error("%s can't start: %s", service, error)
            return REFUSED
        finally:
            wiring.close()

    code: int = uvloop.run(main())
    return code


async def run_worker(wiring: Wiring, worker: Worker, stop: asyncio.Event) -> None:
    """Runs a worker until `stop` is set, and stops it in good order.

    When a stage fails or gets nowhere, the process ends at once: whatever it still holds is void,
    and its successor waits for it.
    """
    await worker.start()
    collect_rarely()
    wiring.health.set("stages", True)
    for name, source in worker.sources.items():
        wiring.health.watch(f"stage {name}", partial(_trouble, source))
    patience_s = wiring.settings.stages.progress_ms / 1000
    failed = asyncio.ensure_future(worker.failed())
    stuck = asyncio.ensure_future(watch(worker, LogEnds(wiring.kafka), wiring.metrics, patience_s))
    stopped = asyncio.ensure_future(stop.wait())
    tasks: set[asyncio.Future[Any]] = {failed, stuck, stopped}
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks - done:
        task.cancel()
    if stopped in done:
        wiring.health.drain()
        await worker.stop()
        return
    log.error("the process ends: %s", (failed if failed in done else stuck).result())
    wiring.tracing.flush()
    os._exit(FAILED)


def _trouble(source: BatchSource) -> str | None:
    return "waits for something that is away; the log says for what" if source.paused else None


@asynccontextmanager
async def telemetry(wiring: Wiring) -> AsyncIterator[None]:
    """Serves `/healthz`, `/readyz` and `/metrics` meanwhile."""
    chosen = wiring.settings.telemetry
    server = await serve_telemetry(
        wiring.health, wiring.metrics.registry, host=chosen.host, port=chosen.port
    )
    log.info("health and metrics on http://%s", server.address)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            await server.close()
