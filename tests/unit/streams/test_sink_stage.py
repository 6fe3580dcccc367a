"""What a sink stage does at its edges, where no broker is needed to see it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition as Assigned
from stage_runs import FIRST, PLACES, Log, Shelf, sinking
from turn_parts import IDS, WIRES, Person, SchemaIdsInMemory, Sent, eventually

from infra.keys import Sealer
from infra.telemetry.metrics import Metrics
from schemas.events import MessageReceived
from schemas.failures import Unavailable
from schemas.topics import EVENTS
from schemas.wire import TopicWire
from sinks.port import Commit, Delivery, Position, TopicPartition
from streams.backoff import Backoff
from streams.batch_source import BEGINNING
from streams.sink_stage import SinkStage

PLACE = TopicPartition("parley.events.v1", 3)
UNKNOWN = b"\x00\x00\x00\xff\xff" + b"whatever this is"


class NothingCommitted:
    """The one question that the stage asks a consumer at an assignment."""

    def committed(self, partitions: list[Assigned], timeout: float) -> list[Assigned]:
        return partitions


class AwaySink:
    """A sink whose other side is away for good."""

    name = "away"
    batch_records_max = 1

    def __init__(self) -> None:
        self.asked_again = asyncio.Event()
        self._asked = False

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        if self._asked:
            self.asked_again.set()
        self._asked = True
        raise Unavailable("nobody is at home")


def test_an_assignment_that_waits_for_the_other_side_lets_a_stop_through() -> None:
    async def main() -> list[int]:
        loop, sink = asyncio.get_running_loop(), AwaySink()
        source = SimpleNamespace(stopping=False)
        nothing = cast(Any, None)
        stage = SinkStage(cast(Any, sink), nothing, nothing, nothing, loop, Metrics())
        stage.attach(cast(Any, source))
        offsets: list[int] = []
        thread = threading.Thread(
            target=lambda: offsets.extend(stage.assigned(cast(Any, NothingCommitted()), [PLACE]))
        )
        thread.start()
        await sink.asked_again.wait()
        assert thread.is_alive()
        source.stopping = True
        async with asyncio.timeout(10):
            await asyncio.to_thread(thread.join)
        return offsets

    assert asyncio.run(main()) == [BEGINNING]


class SmallShelf(Shelf):
    """Keeps what it is given; some partitions may have no place on it for a while."""

    batch_records_max = 3

    def __init__(self) -> None:
        self.kept: dict[TopicPartition, list[str]] = {place: [] for place in PLACES}
        self.refused: set[TopicPartition] = set()
        self.lost: set[TopicPartition] = set()
        """These are read from their beginning again, and are not refused any more."""

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        if source in self.lost:
            self.lost.discard(source)
            self.refused.discard(source)
            return Position(0)
        if source in self.refused:
            raise Unavailable("there is no place for these")
        self.kept[source] += [cast(MessageReceived, d.record).mid for d in batch]
        return Position(batch[-1].offset + 1)


async def test_a_partition_that_cannot_be_written_holds_up_no_other(
    log: Log, alice: Person, sealer: Sealer, sent: Sent, tmp_path: Path
) -> None:
    shelf, other = SmallShelf(), PLACES[1]
    shelf.refused.add(FIRST)
    mids = [f"m-{number}" for number in range(12)]
    said = alice.lives(*(alice.says("I lost my card", mid) for mid in mids))
    async with sinking(shelf, WIRES[EVENTS], sealer, sent, log.broker, tmp_path) as source:
        ends = {place: log.add(alice, said, place) for place in (FIRST, other)}
        await eventually(lambda: log.committed(other, shelf.name) == ends[other])
        assert shelf.kept[FIRST] == []
        assert source.was_excused(0.0)
        shelf.refused.clear()
        await eventually(lambda: log.committed(FIRST, shelf.name) == ends[FIRST])
    assert shelf.kept[FIRST] == shelf.kept[other] == mids


async def test_a_partition_that_was_held_is_read_again_once_it_comes_back(
    log: Log, alice: Person, sealer: Sealer, sent: Sent, tmp_path: Path
) -> None:
    first, second = SmallShelf(), SmallShelf()
    wire, said = WIRES[EVENTS], alice.lives(alice.says("I lost my card"))
    async with sinking(first, wire, sealer, sent, log.broker, tmp_path / "1") as source:
        await source.hold(PLACES)
        joining = sinking(second, wire, sealer, sent, log.broker, tmp_path / "2", owning=1)
        async with joining as other:
            gone = other.owned
        await eventually(lambda: source.owned == set(PLACES))
        for place in gone:
            end = log.add(alice, said, place)
            await eventually(lambda p=place, e=end: log.committed(p, first.name) == e)


async def test_held_partitions_come_and_go_and_stay_held_over_a_pause_of_all(
    log: Log, alice: Person, sealer: Sealer, sent: Sent, tmp_path: Path
) -> None:
    first, second, ids = SmallShelf(), SmallShelf(), SchemaIdsInMemory()
    ids.schemas = list(IDS.schemas)
    first.refused.update(PLACES)
    said = alice.lives(*(alice.says("I lost my card", f"m-{number}") for number in range(12)))
    wire, cold = WIRES[EVENTS], TopicWire(EVENTS, ids)
    async with sinking(first, cold, sealer, sent, log.broker, tmp_path / "1") as source:
        ends = {place: log.add(alice, said, place) for place in PLACES}
        await eventually(lambda: source.held == set(PLACES))
        joining = sinking(second, wire, sealer, sent, log.broker, tmp_path / "2", owning=1)
        async with joining as other:
            gone = other.owned
            await eventually(lambda: all(log.committed(p, first.name) == ends[p] for p in gone))
            assert source.held == source.owned == set(PLACES) - gone
        await eventually(lambda: source.owned == set(PLACES))
        # An unknown schema of which nobody can be asked pauses all; then all but these go on.
        asked, ids.away = ids.asked, True
        log.broker.append(min(gone), b"somebody", UNKNOWN)
        await eventually(lambda: ids.asked > asked + 1)
        assert source.held == set(PLACES) - gone
        ids.away = False
        first.refused.clear()
        ends = {place: log.add(alice, said, place) for place in PLACES}
        await eventually(lambda: all(log.committed(p, first.name) == ends[p] for p in PLACES))


async def test_a_partition_that_goes_back_while_it_is_being_held_is_read_from_there(
    log: Log,
    alice: Person,
    sealer: Sealer,
    sent: Sent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda self: 0.000_001)
    shelf, mids = SmallShelf(), [f"m-{number}" for number in range(12)]
    shelf.refused.add(FIRST)
    said = alice.lives(*(alice.says("I lost my card", mid) for mid in mids))
    async with sinking(shelf, WIRES[EVENTS], sealer, sent, log.broker, tmp_path) as source:
        hold = source.hold

        async def hold_and_lose(partitions: Collection[TopicPartition]) -> None:
            await hold(partitions)
            if FIRST in partitions:
                shelf.lost.add(FIRST)

        monkeypatch.setattr(source, "hold", hold_and_lose)
        end = log.add(alice, said)
        await eventually(lambda: log.committed(FIRST, shelf.name) == end)
    assert shelf.kept[FIRST] == mids
