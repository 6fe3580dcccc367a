"""Thousands of runs of the engine's logic; Hypothesis drives it too, and shrinks what fails."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from storm.rules import Rule

from processors.conversation import decide
from streams import transactions
from streams.answering.open_messages import OpenMessages
from streams.batch import Rewind
from streams.conversation_stage import ConversationTransform

from .processes import STAGES, Steps
from .simulation import WORKERS, Simulation, go_wild, random_run
from .site import Site

RUNS = 10_000
STEPS = 150
CHUNK = 250
WAITED_MAX = 0.003
"""Share of runs in which a transaction may stay open until the broker's timeout."""
NAMES = sorted((*STAGES, *WORKERS))

Broken = Callable[[], AbstractContextManager[frozenset[str]]]


def outcomes(seeds: Iterable[int]) -> tuple[list[tuple[int, str]], int]:
    """The seeds whose runs break a rule, with the first finding of each, and in how many runs a
    transaction stayed open until the broker's timeout."""
    failed, waited = [], 0
    for seed in seeds:
        with Simulation(seed) as run:
            go_wild(run, STEPS)
            findings = run.settle()
        failed += [(seed, str(findings[0]))] if findings else []
        waited += run.waited_out
    return failed, waited


@pytest.mark.timeout(900)
def test_ten_thousand_runs_lose_nothing_and_double_nothing() -> None:
    first = random.randrange(10**9)
    chunks = [range(at, at + CHUNK) for at in range(first, first + RUNS, CHUNK)]
    # Never forked: a RocksDB or a chDB that an earlier test left to the collector aborts the child.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        found = list(pool.map(outcomes, chunks))
    failed = [failure for failures, _ in found for failure in failures]
    assert not failed, (
        f"{len(failed)} of {RUNS} runs: random_run({failed[0][0]}, {STEPS}) finds {failed[0][1]}"
    )
    assert sum(waited for _, waited in found) < WAITED_MAX * RUNS


@contextmanager
def without_deduplication() -> Iterator[frozenset[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "has_handled_otherwise", lambda state, entry: False)
        yield frozenset()


@contextmanager
def state_before_the_commit() -> Iterator[frozenset[str]]:
    apply = ConversationTransform.apply

    def apply_at_once(self: ConversationTransform, *arguments: Any) -> Any:
        changes = apply(self, *arguments)
        self.committed(changes)
        return changes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConversationTransform, "apply", apply_at_once)
        yield frozenset()


@contextmanager
def unknown_taken_for_aborted() -> Iterator[frozenset[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "_verdict", lambda producer, reason: Rewind(reason.str()))
        yield frozenset()


@pytest.mark.parametrize(
    ("broken", "rule", "what"),
    [
        (without_deduplication, Rule.DOUBLED, "times in log"),
        (lambda: nullcontext(frozenset(("offsets first",))), Rule.LOST, "is not in log"),
        (lambda: nullcontext(frozenset(("no token",))), Rule.DOUBLED, "times in ClickHouse"),
        (lambda: nullcontext(frozenset(("no epochs",))), Rule.ORDER, "the log has"),
        (state_before_the_commit, Rule.LOST, "is not in log"),
        (unknown_taken_for_aborted, Rule.DOUBLED, "times in log"),
    ],
    ids=(
        "no de-duplication",
        "offsets before the work",
        "no token",
        "no epochs",
        "state before the commit",
        "unknown taken for aborted",
    ),
)
def test_a_broken_promise_is_found(broken: Broken, rule: Rule, what: str) -> None:
    with broken() as promises:
        found = [f for seed in range(200) for f in random_run(seed, STEPS, promises)]
    assert any(f.rule is rule and what in f.what for f in found)


def idle(site: Site) -> Steps:
    """A stage that does nothing."""
    while True:
        yield


@pytest.mark.parametrize(
    ("stage", "rule"), [("analysis", Rule.ANALYSED), ("answering", Rule.ANSWERED)]
)
def test_a_stage_that_does_nothing_is_found(stage: str, rule: Rule) -> None:
    found = [f for n in range(20) for f in random_run(n, STEPS, stages={**STAGES, stage: idle})]
    assert any(finding.rule is rule for finding in found)


def test_an_heir_that_does_not_ask_for_open_turns_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OpenMessages, "begun", lambda self: [])
    found = [finding for seed in range(100) for finding in random_run(seed, STEPS)]
    assert any(finding.rule is Rule.ANSWERED for finding in found)


class Schedules(RuleBasedStateMachine):
    """Any schedule that Hypothesis can think of."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.run = Simulation(seed)
        self.run.__enter__()

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=20))
    def go_on(self, names: list[str]) -> None:
        for name in names:
            self.run.step(name)

    @rule(stage=st.sampled_from(sorted(STAGES)))
    def zombie(self, stage: str) -> None:
        self.run.step(stage, zombie=True)

    @rule(name=st.sampled_from(NAMES))
    def crash(self, name: str) -> None:
        self.run.crash(name)

    @rule(name=st.sampled_from(NAMES))
    def replace(self, name: str) -> None:
        self.run.replace(name)

    @rule(partition=st.integers(0, 1), number=st.integers(0, 1))
    def move(self, partition: int, number: int) -> None:
        self.run.move(partition, number)

    @rule(customer=st.integers(0, 2))
    def say(self, customer: int) -> None:
        self.run.say(customer)

    @rule(number=st.integers(0, 100))
    def repeat(self, number: int) -> None:
        if sends := self.run.history.sends:
            self.run.repeat(sends[number % len(sends)])

    @rule(number=st.integers(0, 100), acknowledged=st.booleans())
    def deliver(self, number: int, acknowledged: bool) -> None:
        self.run.deliver(number, acknowledged=acknowledged)

    @rule()
    def empty_redis(self) -> None:
        self.run.empty_redis()

    @rule(us=st.sampled_from((1000, 100_000, 3_000_000, 30_000_000)))
    def pass_time(self, us: int) -> None:
        self.run.pass_time(us)

    def teardown(self) -> None:
        if hasattr(self, "run"):
            try:
                findings = self.run.settle()
            finally:
                self.run.__exit__()
            assert not findings, "\n".join(map(str, findings))


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
