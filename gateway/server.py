"""The gateway's process: its parts, routes, clock, and a departure that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from aiohttp import web

from gateway.auth import Keys, LocalKey, Verifier
from gateway.authorise import Owners
from gateway.bells import Bells
from gateway.close_codes import DRAINING
from gateway.commands import RECORDS, CommandDesk
from gateway.dev_tokens import dev_token
from gateway.frame_counts import FrameCounts
from gateway.jwks import JwksKeys
from gateway.limits import CommandLimit, SocketLimit
from gateway.producer import CommandProducer
from gateway.read_model import ReadModel
from gateway.services import Services
from gateway.site import MakeToken, add_site
from gateway.stopping import stop
from gateway.upgrade import Door
from infra.keys import Sealer, open_sealer, read_or_create_secret
from infra.settings.behaviour import AuthSettings
from infra.settings.connections import RedisSettings
from infra.settings.loading import Settings
from infra.telemetry.health import Health
from infra.telemetry.http import add_telemetry_routes
from infra.telemetry.metrics import Metrics
from infra.telemetry.tracing import TRACING_OFF, Tracing
from schemas.failures import Unavailable
from schemas.topics import COMMANDS
from schemas.wire import SchemaIds, TopicWire
from sinks.redis.connection import open_redis
from sinks.redis.line import Line

_LOG = logging.getLogger(__name__)

HEADER_TIMEOUT_S = 15.0
"""A connection that has not sent a whole request by then is closed (slowloris)."""
PROBE_S = 5.0
START_S = 8.0
TICK_S_MAX = 1.0
RECONNECT_AFTER_MS = 500


class PortTaken(Exception):
    """Somebody else listens on the gateway's port."""


class Gateway:
    """All parts of one gateway. Made by `open_gateway`; call `start`, later `drain` and `close`."""

    def __init__(
        self,
        services: Services,
        producer: CommandProducer,
        *,
        health: Health,
        make_token: MakeToken | None,
        closers: list[Callable[[], Coroutine[Any, Any, None]]],
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._producer = producer
        self._closers = closers
        self.health = health
        self.door = Door(services)
        self._tasks: list[asyncio.Task[None]] = []
        app = web.Application()
        app.router.add_get("/v1/ws", self.door.enter)
        add_telemetry_routes(app, health, services.metrics.registry)
        add_site(app, make_token)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=HEADER_TIMEOUT_S,
            shutdown_timeout=2.0,
        )

    @property
    def address(self) -> str:
        """`host:port` with the port that was really bound."""
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Listens. Raises `PortTaken`, and `Unavailable` when Kafka or Redis does not answer."""
        try:
            await self._check_parts()
            await self._listen()
        except (PortTaken, Unavailable):
            await self.close()
            raise
        self._services.bells.start()
        for work in (self._keep_time(), self._keep_health(), self._watch_epoch()):
            self._tasks.append(asyncio.create_task(work))

    async def _listen(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        try:
            await site.start()
        except OSError as error:
            raise PortTaken(
                f"the gateway can't listen on {self._settings.host}:{self._settings.port} "
                f"({error.strerror}): stop what is there or set gateway.port"
            ) from None

    async def drain(self) -> None:
        """Sends every client away over the drain time, once its commands have their answers."""
        self.health.drain()
        self.door.draining = True
        await asyncio.gather(*(self._send_away(each) for each in tuple(self.door.open)))

    async def _send_away(self, connection: Any) -> None:
        await asyncio.sleep(random.uniform(0, self._settings.drain_ms / 1000))
        after_ms = random.randint(0, RECONNECT_AFTER_MS)
        await connection.send_away(DRAINING, after_ms)

    async def close(self) -> None:
        """Stops all parts; whatever is still in flight is waited for first."""
        await stop(*self._tasks)
        await self._runner.cleanup()
        await self._producer.close()
        await self._services.bells.close()
        for closer in self._closers:
            with contextlib.suppress(Exception):
                await closer()

    async def _check_parts(self) -> None:
        trouble = await asyncio.to_thread(self._producer.probe, COMMANDS.name, START_S)
        self.health.set("kafka", trouble is None, trouble or "")
        if trouble is not None:
            raise Unavailable(trouble)
        await self._services.read_model.ping()

    async def _keep_time(self) -> None:
        """One clock for all sockets, since a timer for each would cost more than the sockets."""
        settings = self._settings
        shortest_ms = min(settings.ping_ms, settings.pong_ms, settings.stalled_ms)
        tick_s = min(TICK_S_MAX, shortest_ms / 4000)
        while True:
            await asyncio.sleep(tick_s)
            now = time.monotonic()
            for connection in tuple(self.door.open):
                connection.tick(now)

    async def _keep_health(self) -> None:
        while True:
            trouble = await asyncio.to_thread(self._producer.probe, COMMANDS.name, PROBE_S)
            self.health.set("kafka", trouble is None, trouble or "")
            self._services.metrics.dependency_up.labels("kafka").set(trouble is None)
            await asyncio.sleep(PROBE_S)

    async def _watch_epoch(self) -> None:
        """A log that began anew has other events under the same numbers: everyone reads again."""
        known = ""
        while True:
            with contextlib.suppress(Unavailable):
                epoch = await self._services.read_model.epoch(fresh=True)
                if known and epoch != known:
                    self._services.owners.forget()
                    self._services.bells.all_catch_up()
                known = epoch
            await asyncio.sleep(1.0)


async def open_gateway(
    settings: Settings,
    *,
    schema_ids: SchemaIds,
    sealer: Sealer | None = None,
    metrics: Metrics | None = None,
    tracing: Tracing = TRACING_OFF,
) -> Gateway:
    """Puts a gateway together from settings, on the running loop.

    Raises `Unavailable` when the schema registry or the key store can't be had.
    """
    metrics = metrics or Metrics(tenants_max=settings.telemetry.tenants_max)
    health = Health("kafka", "redis")
    wire = TopicWire(COMMANDS, schema_ids)
    await asyncio.to_thread(wire.prepare, tuple(RECORDS.values()))
    held = sealer if sealer is not None else await asyncio.to_thread(open_sealer, settings.keys)
    keys, make_token = _keys(settings.auth)
    redis = open_redis(settings.redis)
    line = Line(redis)
    read_model = ReadModel(line)
    gateway = settings.gateway
    producer = CommandProducer(
        settings.kafka.producer(),
        loop=asyncio.get_running_loop(),
        produce_ms=gateway.produce_ms,
    )

    def redis_state(up: bool) -> None:
        health.set("redis", up, "" if up else "Redis does not answer: check redis.url")
        metrics.dependency_up.labels("redis").set(up)

    services = Services(
        settings=gateway,
        verifier=Verifier(
            keys,
            issuer=settings.auth.issuer,
            audience=settings.auth.audience,
            leeway_ms=settings.auth.leeway_ms,
        ),
        sealer=held,
        desk=CommandDesk(
            sealer=held,
            producer=producer,
            wire=wire,
            text_bytes=gateway.text_bytes,
            tracing=tracing,
        ),
        bells=Bells(
            _pubsub_connections(settings.redis),
            merge_ms=gateway.token_merge_ms,
            merge_bytes=gateway.token_merge_bytes,
            on_state=redis_state,
        ),
        read_model=read_model,
        owners=Owners(read_model),
        command_limit=CommandLimit(line, rate_per_s=gateway.commands_per_s, burst=gateway.burst),
        socket_limit=SocketLimit(gateway.sockets_per_user),
        metrics=metrics,
        frame_counts=FrameCounts(metrics),
        server_name=f"parley-{uuid4().hex[:8]}",
    )

    async def close_sealer() -> None:
        await asyncio.to_thread(held.close)

    closers = [line.close, redis.aclose, *([close_sealer] if sealer is None else [])]
    return Gateway(services, producer, health=health, make_token=make_token, closers=closers)


def _keys(auth: AuthSettings) -> tuple[Keys, MakeToken | None]:
    """An identity provider's keys where one is set; the local key then opens nothing."""
    if auth.jwks_url is not None:
        keys = JwksKeys(auth.jwks_url, algorithms=auth.algorithms, cache_ms=auth.jwks_cache_ms)
        return keys, None
    if auth.dev_secret_file is None:
        raise ValueError("tokens can't be verified: set auth.jwks_url or auth.dev_secret_file")
    secret = read_or_create_secret(auth.dev_secret_file)

    def make_token(tenant_id: str, sub: str) -> str:
        return dev_token(
            secret, tenant_id=tenant_id, sub=sub, issuer=auth.issuer, audience=auth.audience
        )

    return LocalKey(secret), make_token


def _pubsub_connections(settings: RedisSettings) -> Callable[[], Any]:
    """Single connections in RESP2, where live messages are plain lists.

    Without a timeout of their own, which would cost a task for each write: the bells have theirs.
    """
    options = {**settings.options, "protocol": 2, "socket_timeout": None}
    plain = settings.model_copy(update={"options": options})
    pool = open_redis(plain, connections_max=1).connection_pool
    return pool.make_connection
