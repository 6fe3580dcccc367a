"""The analytics process: writes the log into ClickHouse, and owns the embedded engine if asked to.

chDB allows one process per data folder, so the owner also answers everybody's SQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from infra.clickhouse.embedded import EmbeddedClickHouse
from infra.clickhouse.errors import ClickHouseUnavailable
from infra.clickhouse.port import ClickHouse
from infra.clickhouse.remote import RemoteClickHouse
from infra.settings.loading import Settings
from infra.telemetry.http import PortTaken
from parley.processes.running import OK, run_process, run_worker, telemetry
from parley.wiring import Wiring
from schemas import topics
from schemas.failures import Invalid, Unavailable
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.projection import ClickHouseSink
from sinks.clickhouse.texts import opening_with
from sinks.port import Delivery
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.records_out import RecordsOut
from streams.sink_stage import SinkStage
from streams.worker import Reading, Worker

log = logging.getLogger(__name__)

TENANT_DATABASE = "parley_tenant"


def main(settings: Settings, *, embedded: bool) -> int:
    """Runs until a signal or a failure. Returns the exit code.

    `embedded`: opens the engine in the data folder and serves it at the port of `clickhouse.url`.
    """

    async def body(wiring: Wiring, stop: asyncio.Event) -> int:
        async with telemetry(wiring):
            wiring.health.set("clickhouse", False, "starting")
            await asyncio.to_thread(wiring.check_log)
            async with _clickhouse(wiring, embedded) as clickhouse:
                return await _project(wiring, clickhouse, stop, embedded)

    return run_process(settings, "analytics", body)


async def _project(
    wiring: Wiring, clickhouse: ClickHouse, stop: asyncio.Event, embedded: bool
) -> int:
    database = wiring.settings.clickhouse.database
    tenant_database = TENANT_DATABASE if embedded else None
    try:
        done = await asyncio.to_thread(migrate, clickhouse, database, tenant_database)
    except ClickHouseUnavailable as error:
        raise Unavailable(str(error)) from error
    if done:
        log.info("migrated: %s", ", ".join(done))
    wiring.health.set("clickhouse", True)
    out = RecordsOut(wiring.kafka)
    wire = await asyncio.to_thread(wiring.wire, topics.EVENTS)
    letter_wire = await asyncio.to_thread(wiring.wire, topics.DEAD_LETTERS)
    letters = DeadLetters(ClickHouseSink.name, letter_wire, wiring.sealer, wiring.metrics)

    async def put_aside(delivery: Delivery, reason: Invalid) -> None:
        await out.send(letters.letter_of(delivery, wire.encode(delivery.record), reason))

    sink = ClickHouseSink(clickhouse, opening_with(wiring.sealer), put_aside, database=database)
    stage = SinkStage(
        sink,
        Decoder([wire]),
        letters,
        out,
        asyncio.get_running_loop(),
        wiring.metrics,
        wiring.tracing,
    )
    # Rows are collected for a second anyway, so the broker may as well hold them for a while.
    fetch = {"fetch.min.bytes": 100_000, "fetch.wait.max.ms": 500}
    reading = Reading(stage, f"parley-{sink.name}", (topics.EVENTS.name,), 2000, fetch=fetch)
    worker = Worker("parley-analytics", [reading], wiring.kafka, wiring.faust_folder)
    stage.attach(worker.sources[stage.name])
    await run_worker(wiring, worker, stop)
    await out.close()
    return OK


@asynccontextmanager
async def _clickhouse(wiring: Wiring, embedded: bool) -> AsyncIterator[ClickHouse]:
    chosen = wiring.settings.clickhouse
    if not embedded:
        password = "" if chosen.password is None else chosen.password.get_secret_value()
        remote = RemoteClickHouse(
            chosen.url, user=chosen.user, password=password, options=chosen.options
        )
        try:
            yield remote
        finally:
            await asyncio.to_thread(remote.close)
        return
    from infra.clickhouse.endpoint import Databases, SqlEndpoint
    from infra.clickhouse.engine import Engine

    engine = await asyncio.to_thread(Engine, wiring.settings.data_dir / "clickhouse")
    try:
        home = EmbeddedClickHouse(engine)
        # The endpoint looks names up in these, so they must be there before it answers.
        for database in (chosen.database, TENANT_DATABASE):
            home.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        endpoint = SqlEndpoint(engine, databases=Databases(chosen.database, TENANT_DATABASE))
        address = urlsplit(chosen.url)
        try:
            await endpoint.start(address.hostname or "127.0.0.1", address.port or 8123)
        except OSError as error:
            raise PortTaken(f"{chosen.url} can't serve SQL: {error.strerror}") from None
        log.info("SQL on %s", chosen.url)
        try:
            yield home
        finally:
            await endpoint.close()
    finally:
        await asyncio.to_thread(engine.close)
