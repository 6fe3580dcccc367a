"""What the processes of a run share, and the switch between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

import greenlet
import pytest

import streams.backoff
import streams.batch_source
import streams.conversation_stage
import streams.restore
import streams.transactional_stage
import streams.transactions
from processors.conversation.policy import Policy
from streams.kafka_options import KafkaOptions

from .broker import Broker
from .stores import Redis, Table

PORTION = 2
"""Batches are small here, and are cut up all the same."""
TRANSACTION_US = KafkaOptions("").transaction_timeout_ms * 1000
"""After that the broker ends a transaction."""


@dataclass(slots=True)
class Site:
    """The durable things, the clock, and the chance of one run."""

    current: ClassVar[Site]
    """That of the run whose turn it is: clients are made deep inside of the engine."""

    broker: Broker
    rng: Random
    policy: Policy
    now_us: int
    clickhouse: Table = field(default_factory=Table)
    redis: Redis = field(default_factory=Redis)
    hesitation: float = 0.3
    """How likely it is that an answer which could be complete takes longer."""
    poisoned: list[str] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    """Promises that are broken on purpose."""
    mishap: float = 0.03
    """How likely a call of a transaction goes wrong in a way that a broker has."""
    loses_brokers: bool = False
    """Whether the next producer that asks under an open transaction hears that every broker is
    down."""
    flushes: int = 0
    """How often a producer began to write out what it has."""
    running: Process | None = None

    def pass_time(self, us: int) -> None:
        """The clock goes on."""
        self.now_us += us
        self.broker.abort_older(self.now_us - TRANSACTION_US)


class Process:
    """Code of the engine's own that runs from one `step` to the next."""

    def __init__(self, site: Site, main: Callable[[Site], None]) -> None:
        self._site = site
        self._main = greenlet.greenlet(lambda: main(site))
        self.member = 0
        """What its group knows it as; 0 before it has joined."""
        self.stop: Callable[[], None] = self.kill
        """Asks it to end."""

    @property
    def has_ended(self) -> bool:
        """Whether its code has come to its end."""
        return bool(self._main.dead)

    def go_on(self) -> None:
        """Runs it to its next step. Raises what ends it."""
        self._site.running = self
        self._main.switch()

    def kill(self) -> None:
        """It never comes back from the call that it is in."""
        self._main.throw(greenlet.GreenletExit)


def step() -> None:
    """Here another process may get ahead, or this one may end."""
    greenlet.getcurrent().parent.switch()


class _Clock:
    """`time`, as the run has it."""

    @staticmethod
    def time_ns() -> int:
        return Site.current.now_us * 1000

    @staticmethod
    def time() -> float:
        return Site.current.now_us / 1e6

    monotonic = time


class _Short:
    """`random`, for pauses that are over before everything seems to rest."""

    @staticmethod
    def uniform(low: float, high: float) -> float:
        return Site.current.rng.uniform(low, high) / 100


class _AtOnce:
    """A pool of threads that has none."""

    def __init__(self, size: int) -> None:
        pass

    def __enter__(self) -> Any:
        return SimpleNamespace(map=map)

    def __exit__(self, *error: object) -> None:
        pass


@contextmanager
def simulated_kafka() -> Iterator[None]:
    """The engine's clients, clock and threads are the simulation's until the block ends."""
    from .kafka import Consumer, Producer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams.transactions, "Producer", Producer)
        patch.setattr(streams.transactions, "ThreadPoolExecutor", _AtOnce)
        patch.setattr(streams.restore, "Consumer", Consumer)
        patch.setattr(streams.backoff, "random", _Short)
        patch.setattr(streams.batch_source, "Consumer", Consumer)
        for module in (
            streams.transactions,
            streams.transactional_stage,
            streams.batch_source,
            streams.restore,
        ):
            patch.setattr(module, "time", _Clock)
        for module in (streams.transactional_stage, streams.conversation_stage):
            patch.setattr(module, "PORTION", PORTION)
        yield
