"""Reads everything, compares, and waits for projections that only lag.

A conversation that agrees once is settled. One that differs is looked at again, together with what
was added to the log meanwhile, until it agrees or the time is over: so a stack that is being used
can be verified too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from infra.clickhouse.port import ClickHouse
from parley.verify.comparing import (
    clickhouse_difference,
    redis_differences,
    snapshot_differences,
)
from parley.verify.differences import CLICKHOUSE, REDIS, SNAPSHOTS, Conversation, Difference
from parley.verify.history import History, digest_with
from parley.verify.reading import LogReader, RedisReader, SnapshotReader, snapshot_key
from parley.verify.turns import OpenTurn, Turns
from schemas.events import Event
from schemas.topics import EVENTS
from sinks.clickhouse.digests import Digest, digests_of_table
from sinks.port import Delivery
from sinks.redis.texts import Opener, event_texts

ROUND_PAUSE_S = 0.25
OVERDUE_GRACE_US = 5_000_000

Said = Callable[[str], None]
"""Takes a few words about what is being done."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All that is compared, opened."""

    log: LogReader
    snapshots: SnapshotReader
    redis: RedisReader
    clickhouse: ClickHouse
    opener: Opener
    epoch: str
    database: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    conversations: int
    events: int
    messages: int
    outcomes: dict[str, int]
    open_turns: tuple[OpenTurn, ...]
    waiting_messages: int
    unreadable: tuple[tuple[int, int, str], ...]
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


@dataclass(slots=True)
class Verification:
    """One comparison of the log with its projections."""

    sources: Sources
    said: Said = lambda words: None
    turns: Turns = field(default_factory=Turns)
    _digests: dict[Conversation, Digest] = field(default_factory=dict)
    _pending: dict[Conversation, History] = field(default_factory=dict)
    """Conversations that Redis or the snapshots do not agree about yet."""
    _snapshots: dict[bytes, bytes] = field(default_factory=dict)
    """Their latest snapshots."""
    _broken: dict[Conversation, Difference] = field(default_factory=dict)
    _events: int = 0

    def run(self, wait_s: float) -> Report:
        """Compares, and waits up to `wait_s` for what lags. Raises `Unavailable`."""
        began = time.monotonic()
        differences = self._first_round()
        while differences and time.monotonic() - began < wait_s:
            left = wait_s - (time.monotonic() - began)
            self.said(f"{_summary(differences)}; waiting up to {left:.0f} s for them")
            time.sleep(ROUND_PAUSE_S)
            differences = self._next_round()
        return self._report(differences, time.monotonic() - began)

    # Rounds

    def _first_round(self) -> list[Difference]:
        differences: list[Difference] = []
        for partition in range(EVENTS.partitions):
            self._take(self.sources.log.read([partition]), settled=False)
            self._snapshots |= self.sources.snapshots.read(partition)
            self.said(f"{self._events:,} events, {len(self._digests):,} conversations read")
            differences = self._compare_pending()  # with what is left of earlier partitions
        return [*differences, *self._compare_whole()]

    def _next_round(self) -> list[Difference]:
        self._take(self.sources.log.read(range(EVENTS.partitions)), settled=True)
        for partition in range(EVENTS.partitions):
            newer = self.sources.snapshots.read(partition)
            wanted = {snapshot_key(conversation) for conversation in self._pending}
            self._snapshots |= {k: v for k, v in newer.items() if k in wanted}
        return [*self._compare_pending(), *self._compare_whole()]

    def _take(self, deliveries: Iterable[Delivery], *, settled: bool) -> None:
        """Folds events. If `settled`, those of conversations that agreed before only count."""
        for delivery in deliveries:
            event: Event = delivery.record
            envelope = event.envelope
            place = (envelope.tenant_id, envelope.conversation_id)
            known = self._digests.get(place)
            self._digests[place] = digest_with(known or Digest(), event)
            self._events += 1
            self.turns.add(event)
            history = self._pending.get(place)
            if history is None and not (settled and known) and place not in self._broken:
                history = self._pending[place] = History(place)
            if history is not None:
                history.add(event, event_texts(self.sources.opener, event))

    # Comparing

    def _compare_pending(self) -> list[Difference]:
        """Compares with Redis and the snapshots, and lets go of what agrees."""
        now_ms = time.time_ns() // 1_000_000
        differences: list[Difference] = []
        stored = self.sources.redis.read(list(self._pending))
        agreeing = []
        for place, history in self._pending.items():
            if history.broken is not None:
                self._broken[place] = history.broken
                agreeing.append(place)
                continue
            snapshot = self.sources.snapshots.decode(self._snapshots.get(snapshot_key(place)))
            found = redis_differences(history, stored[place], self.sources.epoch, now_ms)
            found += snapshot_differences(history, snapshot)
            differences += found
            if not found:
                agreeing.append(place)
        for place in agreeing:
            del self._pending[place]
            self._snapshots.pop(snapshot_key(place), None)
        return differences

    def _compare_whole(self) -> list[Difference]:
        """What takes all conversations at once: ClickHouse, and what the log knows nothing of."""
        sources = self.sources
        found: list[Difference] = [*self._broken.values(), *self.turns.problems]
        rows = digests_of_table(sources.clickhouse, sources.database)
        for place, digest in self._digests.items():
            difference = clickhouse_difference(place, digest, rows.pop(place, None))
            if difference is not None:
                found.append(difference)
        for place, digest in rows.items():
            found.append(Difference(*place, CLICKHOUSE, "events", "none", str(digest.events)))
        found += [
            Difference(*place, REDIS, "view", "none", "a conversation")
            for place in sources.redis.conversations(sources.epoch)
            if place not in self._digests
        ]
        for key in self._snapshots:
            tenant, _, conversation = key.decode().partition(":")
            if (tenant, conversation) not in self._digests:
                found.append(
                    Difference(tenant, conversation, SNAPSHOTS, "snapshot", "none", "a snapshot")
                )
        return found + self.turns.overdue(time.time_ns() // 1000, OVERDUE_GRACE_US)

    def _report(self, differences: list[Difference], seconds: float) -> Report:
        return Report(
            conversations=len(self._digests),
            events=self._events,
            messages=self.turns.messages,
            outcomes=dict(self.turns.outcomes),
            open_turns=tuple(self.turns.open.values()),
            waiting_messages=self.turns.waiting,
            unreadable=tuple(self.sources.log.unreadable),
            differences=tuple(sorted(differences)),
            seconds=seconds,
        )


def _summary(differences: list[Difference]) -> str:
    places = {(d.tenant_id, d.conversation_id) for d in differences}
    where = sorted({d.where for d in differences})
    return f"{len(places):,} conversations differ in {', '.join(where)}"
