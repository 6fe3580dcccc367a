"""`/healthz`, `/readyz` and `/metrics` of every process, on a small server or in another's app."""

from __future__ import annotations

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from infra.telemetry.health import Health


class PortTaken(OSError):
    """Somebody else listens on the port."""


class TelemetryServer:
    """A running server; `address` is `host:port` with the port that was really bound."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"{self.host}:{self.port}"

    async def close(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()


def add_telemetry_routes(app: web.Application, health: Health, registry: CollectorRegistry) -> None:
    """Adds the three routes to an application, such as the gateway's."""

    async def healthz(_: web.Request) -> web.Response:
        if health.alive:
            return web.Response(text="ok\n")
        return web.Response(text=health.failure + "\n", status=503)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(
            body=orjson.dumps(health.report()),
            status=200 if health.ready else 503,
            content_type="application/json",
        )

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


async def serve_telemetry(
    health: Health, registry: CollectorRegistry, *, host: str = "127.0.0.1", port: int = 0
) -> TelemetryServer:
    """Serves the routes on the running loop; port 0 takes a free one.

    Raises `PortTaken` when the port is in use.
    """
    app = web.Application()
    add_telemetry_routes(app, health, registry)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise PortTaken(
            f"{host}:{port} cannot serve health and metrics ({error.strerror}): "
            "set telemetry.port to another port or to 0"
        ) from None
    return TelemetryServer(runner, host, runner.addresses[0][1])
