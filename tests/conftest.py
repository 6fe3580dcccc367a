"""The embedded stack, started once per run as `parley up` starts it, for every test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_stack import RunningStack

from infra.local import PartFailed, Stack

KNOWLEDGE = Path(__file__).parent.parent / "parley" / "demo" / "knowledge"
FOREIGN = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "SCHEMA_REGISTRY_URL",
    "REDIS_URL",
    "CLICKHOUSE_URL",
    "KEY_STORE_URL",
)


@pytest.fixture(scope="session", autouse=True)
def own_environment() -> Iterator[None]:
    """Settings of whoever runs the tests must not reach them; the cache of downloads may."""
    ours = {name for name in os.environ if name.startswith("PARLEY_")} - {"PARLEY_CACHE"}
    foreign = ours | (set(FOREIGN) & set(os.environ))
    kept = {name: os.environ.pop(name) for name in foreign}
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session")
def stack(
    own_environment: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    """The whole stack with the knowledge of both demo tenants."""
    from parley.local_stack import detach, fetch_everything, scatter_ports

    folder = tmp_path_factory.mktemp("stack") / "data"
    fetch_everything(folder)
    scatter_ports(folder)
    try:
        detach(folder, lambda status: None, tied=True)
    except PartFailed as error:
        pytest.fail(f"the stack did not start: {error}\n{error.log_tail}", pytrace=False)
    running = RunningStack(folder)
    try:
        for tenant in ("demo", "harvest"):
            done = running.parley(
                "knowledge", "import", str(KNOWLEDGE / tenant), "--tenant", tenant
            )
            assert done.code == 0, done.err
        yield running
    finally:
        Stack(folder).stop()


@pytest.fixture
def slow_answers(stack: RunningStack) -> Iterator[RunningStack]:
    """The stack with answers whose pieces come slowly enough to be interrupted."""
    with stack.answering("pace_ms = 60.0"):
        yield stack


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test of the stack shows what the parts complained about."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, RunningStack):
        report.sections.append(("complaints of the stack", running.complaints()))
    return report
