"""`parley worker`, `gateway` and `analytics`: one process each, as a cluster runs them."""

from __future__ import annotations

from typing import Annotated

import typer

from parley.options import Data
from parley.talk import log_settings

_ALL_STAGES = "conversation,analysis,answering,redis"


def worker(
    data: Data = None,
    stages: Annotated[
        str, typer.Option("--stages", metavar="A,B", help="The stages to run, with commas.")
    ] = _ALL_STAGES,
) -> None:
    """Runs stages of the pipeline until a signal: conversation, analysis, answering, redis.

    Any number of workers share the work of a stage. Health and metrics are served on
    telemetry.port.

    Example:

      KAFKA_BOOTSTRAP_SERVERS=kafka:9092 parley worker --stages conversation,redis
    """
    from parley.processes.worker import STAGES, main

    named = tuple(name.strip() for name in stages.split(",") if name.strip())
    unknown = [name for name in named if name not in STAGES]
    if unknown or not named:
        asked = f"no stage {unknown[0]}" if unknown else "no stage is named"
        raise typer.BadParameter(f"{asked}; there are {', '.join(STAGES)}", param_hint="--stages")
    raise typer.Exit(main(log_settings(data), named))


def gateway(data: Data = None) -> None:
    """Runs the gateway until a signal: WebSockets for frontends, and the chat page.

    Example:

      PARLEY_GATEWAY__HOST=0.0.0.0 PARLEY_AUTH__JWKS_URL=https://… parley gateway
    """
    from parley.processes.gateway import main

    raise typer.Exit(main(log_settings(data)))


def analytics(
    data: Data = None,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded", help="Open ClickHouse in the data folder and serve it at clickhouse.url."
        ),
    ] = False,
) -> None:
    """Writes the log into ClickHouse until a signal; with --embedded it is ClickHouse as well.

    Example:

      CLICKHOUSE_URL=https://clickhouse:8443 parley analytics
    """
    from parley.processes.analytics import main

    raise typer.Exit(main(log_settings(data), embedded=embedded))
