"""A worker that loses every broker under a transaction, and then the partition it was about."""

from __future__ import annotations

from .simulation import Simulation

WORKER, HEIR = "conversation-1", "conversation-2"
STEPS = 60


def test_a_transaction_that_was_left_open_ends_without_waiting_for_a_record() -> None:
    with Simulation(0) as run:
        site, broker = run.site, run.site.broker
        site.mishap = 0.0
        run.step(WORKER)
        run.say(1)
        run.deliver(0, acknowledged=True)
        while not broker.open_transactions:
            run.step(WORKER)
        site.loses_brokers = True
        while site.loses_brokers:
            run.step(WORKER)
        # Its partition goes to another worker, so that no record will ever wake this one.
        run.step(HEIR)
        run.move(partition=1, number=1)
        assert broker.open_transactions == 1
        for _ in range(STEPS):
            run.step(WORKER)
            run.pass_time(10_000)
        assert broker.open_transactions == 0
