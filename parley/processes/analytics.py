"""The analytics process: writes the log into ClickHouse, and owns the embedded engine if asked to.

chDB allows one process per data folder, so the owner also answers everybody's SQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from infra.clickhouse.embedded import EmbeddedClickHouse
from infra.clickhouse.port import ClickHouse
from infra.clickhouse.remote import RemoteClickHouse
from infra.settings.loading import Settings
from infra.telemetry.http import PortTaken
from parley.processes.dependencies import (
    ANSWER_S,
    Dependencies,
    clickhouse_answers,
    kafka_answers,
    watched,
)
from parley.processes.running import OK, run_process, run_worker, telemetry
from parley.wiring import Wiring
from schemas import topics
from schemas.failures import Invalid
from sinks.clickhouse.meter import CountedClickHouse
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
USUAL_PORT = 8123
INSERT_SHARE = 0.3
"""Of the time for which a stage may get nowhere: an insert may take so long, and a write is two."""


def main(settings: Settings, *, embedded: bool) -> int:
    """Runs until a signal or a failure. Returns the exit code.

    `embedded`: opens the engine in the data folder and serves it at the port of `clickhouse.url`.
    """

    async def body(wiring: Wiring, stop: asyncio.Event) -> int:
        wiring.health.set("stages", False, "starting")
        async with telemetry(wiring), watched(wiring.health, wiring.metrics) as dependencies:
            await _check(wiring, dependencies)
            opened = (
                _embedded(wiring, dependencies)
                if embedded
                else _remote(wiring.settings, dependencies)
            )
            async with opened as clickhouse:
                return await _project(wiring, clickhouse, stop, embedded)

    return run_process(settings, "analytics", body)


async def _check(wiring: Wiring, dependencies: Dependencies) -> None:
    """Raises `Unavailable`, with a sentence, where something is away; before ClickHouse is opened,
    which takes the longest."""
    await dependencies.need("kafka", kafka_answers(wiring.settings.kafka))
    await asyncio.to_thread(wiring.check_log)
    for topic in (topics.EVENTS, topics.DEAD_LETTERS):
        await asyncio.to_thread(wiring.wire, topic)
    await asyncio.to_thread(lambda: wiring.sealer)


async def _project(
    wiring: Wiring, clickhouse: ClickHouse, stop: asyncio.Event, embedded: bool
) -> int:
    database = wiring.settings.clickhouse.database
    tenant_database = TENANT_DATABASE if embedded else None
    done = await asyncio.to_thread(migrate, clickhouse, database, tenant_database)
    if done:
        log.info("migrated: %s", ", ".join(done))
    out = RecordsOut(wiring.kafka)
    wire = wiring.wire(topics.EVENTS)
    letters = DeadLetters(
        ClickHouseSink.name, wiring.wire(topics.DEAD_LETTERS), wiring.sealer, wiring.metrics
    )

    async def put_aside(delivery: Delivery, reason: Invalid) -> None:
        await out.send(letters.letter_of(delivery, wire.encode(delivery.record), reason))

    counted = CountedClickHouse(clickhouse, wiring.metrics)
    sink = ClickHouseSink(
        counted,
        opening_with(wiring.sealer),
        put_aside,
        prefetch_keys=wiring.sealer.prefetch_batch,
        database=database,
    )
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
    worker = Worker(
        "parley-analytics", [reading], wiring.kafka, wiring.faust_folder, wiring.metrics
    )
    stage.attach(worker.sources[stage.name])
    await run_worker(wiring, worker, stop)
    await out.close()
    return OK


@asynccontextmanager
async def _remote(settings: Settings, dependencies: Dependencies) -> AsyncIterator[ClickHouse]:
    chosen = settings.clickhouse
    password = "" if chosen.password is None else chosen.password.get_secret_value()
    open_remote = partial(
        RemoteClickHouse, chosen.url, user=chosen.user, password=password, options=chosen.options
    )
    # Every failure is told here in our words; theirs would say everything twice.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # Before the watch takes the stage for stuck, an insert counts as one that was not answered: it
    # is sent again under its token, so that it makes no difference if it came through all the same.
    insert_s = INSERT_SHARE * settings.stages.progress_ms / 1000
    remote, asked = open_remote(timeout_s=insert_s), open_remote(timeout_s=ANSWER_S)
    try:
        await dependencies.need("clickhouse", clickhouse_answers(asked, "check clickhouse.url"))
        yield remote
    finally:
        await asyncio.to_thread(remote.close)
        await asyncio.to_thread(asked.close)


@asynccontextmanager
async def _embedded(wiring: Wiring, dependencies: Dependencies) -> AsyncIterator[ClickHouse]:
    chosen = wiring.settings.clickhouse
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
            port = USUAL_PORT if address.port is None else address.port  # 0 is any that is free
            await endpoint.start(address.hostname or "127.0.0.1", port)
        except OSError as error:
            raise PortTaken(
                f"{chosen.url} can't serve SQL ({error.strerror}): "
                "stop what is there or set clickhouse.url to another port"
            ) from None
        log.info("SQL on %s", chosen.url)
        try:
            hint = "look at the disk and the memory of this machine"
            await dependencies.need("clickhouse", clickhouse_answers(home, hint))
            yield home
        finally:
            await endpoint.close()
    finally:
        await asyncio.to_thread(engine.close)
