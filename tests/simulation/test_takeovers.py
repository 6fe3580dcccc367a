"""Schedules that chance finds too seldom."""

from __future__ import annotations

import pytest
from storm.rules import Rule

from .simulation import Simulation

WORKER, HEIR, OTHER = "conversation-1", "conversation-2", "conversation-3"
STEPS = 80


def until_it_writes(run: Simulation) -> None:
    """One worker has both partitions, has decided about partition 1, and has written nothing."""
    run.site.mishap = 0.0
    run.step(WORKER)
    run.say(1)
    run.deliver(0, acknowledged=True)
    for _ in range(STEPS):
        run.step(WORKER)
        if run.site.flushes:
            return
    raise AssertionError("it never writes")


def test_a_transaction_that_was_left_open_ends_without_waiting_for_a_record() -> None:
    """Every broker was lost under it, and its partition went to another worker."""
    with Simulation(0) as run:
        site, broker = run.site, run.site.broker
        until_it_writes(run)
        site.loses_brokers = True
        for _ in range(STEPS):
            run.step(WORKER)
            if not site.loses_brokers:
                break
        run.step(HEIR)
        run.move(partition=1, number=1)
        assert broker.open_transactions == 1
        for _ in range(STEPS):
            run.step(WORKER)
            run.pass_time(10_000)
        assert broker.open_transactions == 0


@pytest.mark.parametrize("broken", [frozenset(), frozenset(("no members",))], ids=("as is", "open"))
def test_who_was_dismissed_in_the_middle_of_a_batch_commits_nothing(broken: frozenset[str]) -> None:
    """Its transaction is written under the id of partition 0, whose heir sleeps: so no epoch has
    been raised, and only what it says of its membership tells."""
    with Simulation(0, broken) as run:
        until_it_writes(run)
        run.step(HEIR)
        run.step(OTHER)
        run.replace(WORKER)
        heir = HEIR if run.is_to_have(HEIR, partition=1) else OTHER
        for _ in range(STEPS):
            run.step(heir)
        for _ in range(STEPS):
            run.step(WORKER)
        findings = run.settle()
        assert {f.rule for f in findings} >= {Rule.DOUBLED} if broken else findings == []
