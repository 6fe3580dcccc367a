"""Metrics, health and the small server: what an operator and an orchestrator see."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from infra.telemetry import Health, Metrics, PortTaken, TelemetryServer, serve_telemetry
from infra.telemetry.metrics import TenantLabels


@pytest.fixture
def health() -> Health:
    return Health("kafka")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def server(health: Health, metrics: Metrics) -> AsyncIterator[TelemetryServer]:
    running = await serve_telemetry(health, metrics.registry)
    yield running
    await running.close()


async def get(server: TelemetryServer, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.address}{path}") as response,
    ):
        return response.status, await response.text()


async def test_ready_once_every_expected_and_set_condition_holds(
    server: TelemetryServer, health: Health
) -> None:
    assert (await get(server, "/readyz"))[0] == 503
    health.set("kafka", True)
    assert (await get(server, "/readyz"))[0] == 200
    health.set("redis", False, "connection refused")
    status, body = await get(server, "/readyz")
    assert status == 503
    assert '"redis":{"ok":false,"detail":"connection refused"}' in body
    health.forget("redis")
    assert (await get(server, "/readyz"))[0] == 200


async def test_a_draining_process_is_alive_but_not_ready(
    server: TelemetryServer, health: Health
) -> None:
    health.set("kafka", True)
    health.drain()
    assert (await get(server, "/readyz"))[0] == 503
    assert (await get(server, "/healthz"))[0] == 200


async def test_a_failure_is_for_good_and_the_first_reason_stays(
    server: TelemetryServer, health: Health
) -> None:
    health.set("kafka", True)
    health.fail("no progress on parley.commands.v1")
    health.fail("another")
    assert await get(server, "/healthz") == (503, "no progress on parley.commands.v1\n")
    assert (await get(server, "/readyz"))[0] == 503


async def test_metrics_are_served_in_prometheus_text(
    server: TelemetryServer, metrics: Metrics
) -> None:
    metrics.records.labels("conversation").inc(3)
    status, body = await get(server, "/metrics")
    assert status == 200
    samples = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    assert samples["parley_records_total", ("conversation",)] == 3
    assert any(name == "process_resident_memory_bytes" for name, _ in samples)


async def test_a_port_in_use_is_said_in_one_sentence(server: TelemetryServer) -> None:
    with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{server.port}.*telemetry\.port"):
        await serve_telemetry(Health(), Metrics().registry, port=server.port)


def test_two_processes_in_one_interpreter_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.records.labels("analysis").inc()
    assert second.registry.get_sample_value("parley_records_total", {"stage": "analysis"}) is None


def test_every_metric_is_named_explained_and_carries_its_unit(metrics: Metrics) -> None:
    made = [
        held for held in vars(metrics).values() if isinstance(held, Counter | Gauge | Histogram)
    ]
    assert len(made) > 30
    for metric in made:
        (family,) = metric.describe()
        assert family.name.startswith("parley_")
        assert family.documentation
        if isinstance(metric, Histogram):
            assert family.name.endswith(("_seconds", "_records", "_texts")), family.name


def test_tenants_beyond_the_cap_share_one_label() -> None:
    label = TenantLabels(2)
    assert [label(tenant) for tenant in ("a", "b", "c", "d", "a", "b")] == [
        "a",
        "b",
        "other",
        "other",
        "a",
        "b",
    ]
