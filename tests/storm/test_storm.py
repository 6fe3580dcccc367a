"""A storm over a real stack, and controls that show that its oracle would notice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from running_stack import RunningStack

from parley.client.cursor import Applied

from .customers import Customer, DiaryCursor
from .deployment import GATEWAYS, deployed
from .history import Deed, Outcome
from .nemesis import WORKERS, Fault, Kind
from .process import (
    CLICKHOUSE_WRITTEN,
    FOLDER,
    NO_DEDUPLICATION,
    NO_TOKEN,
    OFFSETS_FIRST,
    SABOTAGE,
    TRANSACTION_OPEN,
)
from .provider import StormProvider, model_provider
from .rules import Finding, Rule
from .storm import Storm, Verdict, Weather, keep, keep_logs, last_words

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

MINUTES = 3.0
OUT = Path("test-output") / "storm"


@dataclass(frozen=True)
class Sea:
    """A stack that storms can rage over."""

    stack: RunningStack
    provider: StormProvider

    def storm(self, weather: Weather, customer: type[Customer] = Customer) -> Verdict:
        """One storm."""
        print(f"seed {weather.seed}")
        return asyncio.run(Storm(self.stack.folder, self.provider, print, customer).run(weather))

    @contextmanager
    def sabotaged(self, sabotage: str, *parts: str) -> Iterator[None]:
        """Parts that break a promise until the block ends."""
        file = self.stack.folder / FOLDER / SABOTAGE
        file.write_text(sabotage)
        try:
            self._restart(parts)
            yield
        finally:
            file.unlink()
            self._restart(parts)

    def _restart(self, parts: tuple[str, ...]) -> None:
        before = {part: self.stack.pid(part) for part in parts}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        for part, pid in before.items():
            self.stack.restarted(part, pid)


@pytest.fixture(scope="module")
def sea(own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sea]:
    folder = tmp_path_factory.mktemp("storm") / "data"
    with model_provider() as provider, deployed(folder, provider.url):
        yield Sea(RunningStack(folder), provider)


def test_nothing_is_lost_and_nothing_doubled_in_a_storm(sea: Sea) -> None:
    seed = random.randrange(1_000_000)
    verdict = sea.storm(Weather(seed, MINUTES * 60))
    if not verdict.holds:
        keep_logs(sea.stack.folder, OUT)
        told = "\n".join(map(str, verdict.findings[:20]))
        print(last_words(sea.stack.folder))
        pytest.fail(
            f"make storm MINUTES={MINUTES:g} SEED={seed} shows it again; what clients wrote down "
            f"is in {keep(verdict, OUT)}\n{told}",
            pytrace=False,
        )
    assert verdict.outcomes["completed"] > 100
    done = {act.deed for act in verdict.history.acts if act.outcome is Outcome.OK}
    assert done == set(Deed)
    assert any(send.contradicted is Outcome.OK for send in verdict.history.sends)


# Controls: with a promise broken the oracle must say so.

CALM = Weather(0, duration_s=20, conversations=60, quiet_s=12, linger_s=0, faults=())


def broken(verdict: Verdict, rule: Rule, where: str) -> list[Finding]:
    """Findings of a rule in one copy, in this storm's own conversations."""
    return [
        f
        for f in verdict.findings
        if f.rule is rule and where in f.what and f.place in verdict.history.screens
    ]


def test_without_deduplication_the_oracle_finds_doubled_messages(sea: Sea) -> None:
    with sea.sabotaged(NO_DEDUPLICATION, *WORKERS):
        verdict = sea.storm(replace(CALM, seed=1_000_001))
    assert broken(verdict, Rule.DOUBLED, "times in log")


def test_offsets_committed_before_the_work_are_found_as_lost_messages(sea: Sea) -> None:
    deaths = tuple(Fault(at_s, Kind.DIE_AT, TRANSACTION_OPEN) for at_s in range(2, 20, 2))
    with sea.sabotaged(OFFSETS_FIRST, *WORKERS):
        verdict = sea.storm(replace(CALM, seed=1_000_002, faults=deaths, conversations=120))
    assert broken(verdict, Rule.LOST, "is not in log")


def test_a_sink_without_its_token_is_found_by_its_doubled_rows(sea: Sea) -> None:
    deaths = tuple(Fault(at_s, Kind.DIE_AT, CLICKHOUSE_WRITTEN) for at_s in (4, 12))
    with sea.sabotaged(NO_TOKEN, "analytics"):
        verdict = sea.storm(replace(CALM, seed=1_000_003, faults=deaths))
    assert broken(verdict, Rule.DOUBLED, "times in ClickHouse")


class TrustingCursor(DiaryCursor):
    """Takes whatever comes for what comes next."""

    def position(self) -> dict[str, Any]:
        return {}

    def apply(self, frame: Mapping[str, Any]) -> Applied | None:
        if frame["t"] == "snapshot" and self.seq is not None:
            return None
        if frame["t"] == "event" and frame["seq"] > (self.seq or 0):
            self.seq = frame["seq"] - 1
        return super().apply(frame)


class TrustingCustomer(Customer):
    """Has a device that trusts its connection."""

    cursor = TrustingCursor


def test_a_client_that_trusts_its_connection_is_found_by_its_gaps(sea: Sea) -> None:
    deaths = tuple(Fault(at_s, Kind.KILL, part) for at_s in (6, 13) for part in GATEWAYS)
    verdict = sea.storm(replace(CALM, seed=1_000_004, faults=deaths), TrustingCustomer)
    assert broken(verdict, Rule.SCREEN, "after event")
