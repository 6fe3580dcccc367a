"""The gateway's process."""

from __future__ import annotations

import asyncio
import logging

from gateway.server import PortTaken, open_gateway
from infra.settings.loading import Settings
from parley.garbage import collect_rarely
from parley.processes.running import OK, REFUSED, run_process
from parley.wiring import Wiring

log = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Serves frontends until a signal. Returns the exit code."""
    return run_process(settings, "gateway", _serve)


async def _serve(wiring: Wiring, stop: asyncio.Event) -> int:
    await asyncio.to_thread(wiring.check_log)
    gateway = await open_gateway(
        wiring.settings,
        schema_ids=wiring.registry,
        sealer=wiring.sealer,
        metrics=wiring.metrics,
        tracing=wiring.tracing,
    )
    try:
        await gateway.start()
    except PortTaken as error:
        log.error("%s", error)
        await gateway.close()
        return REFUSED
    collect_rarely()
    log.info("the gateway listens on http://%s", gateway.address)
    await stop.wait()
    await gateway.drain()
    await gateway.close()
    return OK
