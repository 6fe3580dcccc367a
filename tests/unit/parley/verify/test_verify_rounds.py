"""Verification as a whole, on logs and stores in memory: what lags may catch up, what is wrong
stays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "sinks/redis"))

from conversation_log import ConversationLog, PlainOpener

from parley.verify import verification
from parley.verify.comparing import Stored
from parley.verify.differences import Conversation
from parley.verify.history import History, digest_with
from parley.verify.partitioning import murmur2, partition_of
from parley.verify.reading import snapshot_key
from parley.verify.verification import Report, Sources, Verification
from processors.conversation.state import Conversation as State
from schemas.events import Event
from schemas.topics import EVENTS, key_of
from sinks.clickhouse.digests import Digest
from sinks.port import Delivery
from sinks.redis.frames import event_frame, sealed_texts, shown

NOW_US = 4_000_000_000_000_000


class World:
    """The log and its projections, each of which shows a conversation up to some event."""

    def __init__(self) -> None:
        self.log: list[Event] = []
        self.read_to = 0
        self.reads = 0
        self.on_read: Callable[[int], None] = lambda reads: None
        self.redis: dict[Conversation, list[Event]] = {}
        self.clickhouse: dict[Conversation, list[Event]] = {}
        self.snapshots: dict[Conversation, list[Event]] = {}
        self.unreadable: list[tuple[int, int, str]] = []

    def happened(self, log: ConversationLog, since: int = 0) -> None:
        """Events enter the log and all projections."""
        place = (log.tenant, log.conversation)
        self.log += log.events[since:]
        for store in (self.redis, self.clickhouse, self.snapshots):
            store[place] = list(log.events)

    # What `Verification` asks for.

    def events(self, partitions: Sequence[int]) -> Iterator[Delivery]:
        self.reads += 1
        self.on_read(self.reads)
        if 0 in partitions:
            for offset, event in enumerate(self.log[self.read_to :], self.read_to):
                yield Delivery(EVENTS.name, 0, offset, 1, event, key_of(event), None)
            self.read_to = len(self.log)

    def stored(self, places: Sequence[Conversation]) -> dict[Conversation, Stored | None]:
        return {place: _stored(place, self.redis.get(place)) for place in places}

    def changed_snapshots(self, partition: int) -> dict[bytes, bytes]:
        return {snapshot_key(p): snapshot_key(p) for p in self.snapshots} if not partition else {}

    def snapshot(self, value: bytes | None) -> State | None:
        if value is None:
            return None
        tenant, _, conversation = value.decode().partition(":")
        return _fold((tenant, conversation), self.snapshots[tenant, conversation]).state

    def rows(self, sql: str, parameters: object) -> list[tuple[Any, ...]]:
        found = []
        for place, events in self.clickhouse.items():
            digest = Digest()
            for event in events:
                digest = digest_with(digest, event)
            found.append((*place, digest.events, digest.total))
        return found

    def sources(self) -> Sources:
        return Sources(
            log=_Named(read=self.events, unreadable=self.unreadable),  # type: ignore[arg-type]
            snapshots=_Named(read=self.changed_snapshots, decode=self.snapshot),  # type: ignore[arg-type]
            redis=_Named(  # type: ignore[arg-type]
                read=self.stored, conversations=lambda epoch: iter(self.redis)
            ),
            clickhouse=_Named(query_rows=self.rows),  # type: ignore[arg-type]
            opener=PlainOpener(),
            epoch="e1",
            database="parley",
        )


class _Named:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


def _fold(place: Conversation, events: Sequence[Event]) -> History:
    history = History(place)
    for event in events:
        history.add(event, [s.ciphertext.decode() for s in sealed_texts(event)])
    return history


def _stored(place: Conversation, events: Sequence[Event] | None) -> Stored | None:
    if events is None:
        return None
    view = _fold(place, events).view
    frames = tuple(
        (e.envelope.seq, event_frame(e, shown(e, [s.ciphertext.decode() for s in sealed_texts(e)])))
        for e in events
    )
    turn = (view.turn["turn"], view.turn["attempt"]) if view.turn else None
    return Stored(view.seq, "e1", view.owner, view.status, view.state(), turn, frames)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "ROUND_PAUSE_S", 0.0)


@pytest.fixture
def world() -> World:
    return World()


def conversation(name: str) -> ConversationLog:
    log = ConversationLog(conversation=name, start_us=NOW_US)
    log.exchange("m1", "q", "a")
    return log


def verify(world: World, wait_s: float = 5.0) -> Report:
    return Verification(world.sources()).run(wait_s)


def whats(report: Report) -> set[tuple[str, str, str]]:
    return {(d.conversation_id, d.where, d.what) for d in report.differences}


def test_equal_stores_agree_and_everything_is_counted(world: World) -> None:
    for name in ("c-1", "c-2"):
        world.happened(conversation(name))
    report = verify(world)
    assert report.agrees
    assert (report.conversations, report.events, report.messages) == (2, 10, 2)
    assert report.outcomes == {"completed": 2}
    assert report.open_turns == ()
    assert report.waiting_messages == 0


@pytest.mark.parametrize("store", ["redis", "clickhouse", "snapshots"])
def test_a_store_that_lacks_events_is_found(world: World, store: str) -> None:
    world.happened(conversation("c-1"))
    world.happened(conversation("c-2"))
    getattr(world, store)["demo", "c-2"].pop()
    report = verify(world, wait_s=0)
    assert {(c, where) for c, where, _ in whats(report)} == {("c-2", store)}


@pytest.mark.parametrize("store", ["redis", "clickhouse", "snapshots"])
def test_a_store_that_invented_a_conversation_is_found(world: World, store: str) -> None:
    world.happened(conversation("c-1"))
    ghost = conversation("ghost")
    getattr(world, store)["demo", "ghost"] = ghost.events
    assert {(c, where) for c, where, _ in whats(verify(world, wait_s=0))} == {("ghost", store)}


def test_a_store_that_lags_is_waited_for(world: World) -> None:
    log = conversation("c-1")
    world.happened(log)
    for store in (world.redis, world.clickhouse):
        store["demo", "c-1"] = log.events[:2]

    def catch_up(reads: int) -> None:
        if reads == 9:
            world.redis["demo", "c-1"] = list(log.events)
        if reads == 12:
            world.clickhouse["demo", "c-1"] = list(log.events)

    world.on_read = catch_up
    assert verify(world).agrees
    assert world.reads >= 12


def test_a_conversation_that_goes_on_meanwhile_is_read_further(world: World) -> None:
    log = conversation("c-1")
    world.happened(log)
    settled = conversation("c-2")
    world.happened(settled)

    def goes_on(reads: int) -> None:
        if reads == 6:  # after the events of the first round were read
            for each in (log, settled):
                before = len(each.events)
                each.exchange("m2", "q2", "a2")
                world.happened(each, before)

    world.on_read = goes_on
    report = verify(world)
    assert report.agrees
    assert report.events == 18


def test_open_turns_and_waiting_messages_are_told_but_no_difference(world: World) -> None:
    log = conversation("c-1")
    turn = log.started(log.received("m2"))
    log.received("m3")
    world.happened(log)
    report = verify(world)
    assert report.agrees
    assert [open_turn.turn_id for open_turn in report.open_turns] == [turn.turn_id]
    assert report.waiting_messages == 1


def test_a_turn_that_stays_open_past_its_deadline_is_a_difference(world: World) -> None:
    log = ConversationLog(start_us=1_000_000)
    turn = log.started(log.received("m1"))
    world.happened(log)
    world.redis["demo", "c-1"] = list(log.events)
    assert ("c-1", "log", f"turn {turn.turn_id}") in whats(verify(world, wait_s=0))


def test_a_turn_with_two_outcomes_is_a_difference(world: World) -> None:
    log = conversation("c-1")
    turn = log.started(log.received("m2"))
    log.completed(turn)
    log.cancelled(turn)
    world.happened(log)
    assert whats(verify(world, wait_s=0)) == {("c-1", "log", f"turn {turn.turn_id}")}


def test_a_gap_in_the_log_is_a_difference_of_its_own(world: World) -> None:
    log = conversation("c-1")
    del log.events[2]
    world.happened(log)
    assert whats(verify(world, wait_s=0)) == {("c-1", "log", "seq")}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_in_kafkas_own_clients(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF
    assert partition_of(key, 6) == (expected & 0x7FFFFFFF) % 6
