"""What `parley status` makes of the metrics of several processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import generate_latest

from infra.telemetry.metrics import Metrics
from parley.stage_figures import _handled, add_up, look, stage_table


def worker(stage: str, records: int, lags: dict[int, int], committed_at: float = 0.0) -> Metrics:
    metrics = Metrics()
    metrics.partitions.labels(stage).set(len(lags))
    metrics.records.labels(stage).inc(records)
    for partition, lag in lags.items():
        metrics.lag.labels(stage, "parley.events.v1", str(partition)).set(lag)
    if committed_at:
        metrics.last_commit.labels(stage).set(committed_at)
    return metrics


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_a_stage_is_the_sum_of_its_processes() -> None:
    one = worker("redis", 10, {0: 3, 1: 4}, committed_at=100.0)
    other = worker("redis", 5, {2: 1}, committed_at=160.0)
    other.dead_letters.labels("redis", "wire_format").inc(2)
    stages = add_up({"worker-1": exposed(one), "worker-2": exposed(other)})
    redis = stages["redis"]
    assert (redis.parts, redis.partitions, redis.lag) == (["worker-1", "worker-2"], 3, 8)
    assert redis.records == {"worker-1": 10.0, "worker-2": 5.0}
    assert (redis.dead_letters, redis.last_commit_at) == (2, 160.0)


def test_a_lag_that_is_not_known_yet_is_not_none() -> None:
    fresh = worker("redis", 0, {0: 3})
    fresh.partitions.labels("redis").set(2)
    stages = add_up({"worker-1": exposed(fresh)})
    assert stages["redis"].lag is None
    table = stage_table(list(stages.values()), {}, now=200.0)
    assert "?" in {str(next(iter(column.cells))) for column in table.columns}


@pytest.mark.parametrize(
    ("before", "after", "handled"),
    [
        ({"a": 10.0}, {"a": 15.0}, 5.0),
        ({"a": 1000.0, "b": 10.0}, {"a": 3.0, "b": 12.0}, 5.0),
        ({"b": 10.0}, {"a": 1_000_000.0, "b": 12.0}, 2.0),
        ({}, {"a": 7.0}, 0.0),
    ],
    ids=("goes on", "was started again", "was silent once", "is new"),
)
def test_a_rate_counts_what_each_process_handled_meanwhile(
    before: dict[str, float], after: dict[str, float], handled: float
) -> None:
    assert _handled(before, after) == handled


def test_a_stage_that_committed_nothing_says_so() -> None:
    stages = add_up({"worker-1": exposed(worker("redis", 0, {0: 7}))})
    assert stages["redis"].last_commit_at is None
    table = stage_table(list(stages.values()), {"worker-1": 3}, now=200.0)
    cells = {str(c.header): str(next(iter(c.cells))) for c in table.columns}
    assert cells["last commit"] == "none yet"
    assert (cells["lag"], cells["restarts"], cells["dead letters"]) == ("7", "3", "0")


@contextmanager
def serving(metrics: Metrics, each_time: int) -> Iterator[str]:
    """A process that handles so many records between two looks at it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = generate_latest(metrics.registry)
            metrics.records.labels("redis").inc(each_time)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nobody reads along."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_rates_come_from_two_looks_and_silent_parts_are_left_out() -> None:
    with serving(worker("redis", 1000, {0: 0}), each_time=50) as address:
        found = look({"worker-1": address, "worker-2": "http://127.0.0.1:9"})
    assert [each.parts for each in found] == [["worker-1"]]
    assert 25 < found[0].records_per_s <= 50
