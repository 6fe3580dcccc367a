"""The range protocol, through the real sink, with a crash before or after any step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.clickhouse.errors import ClickHouseDataInvalid, ClickHouseUnavailable
from schemas.envelope import Envelope
from schemas.events import ConversationClosed
from schemas.failures import Invalid, Unavailable
from schemas.topics import key_of
from sinks.clickhouse.projection import ClickHouseSink
from sinks.clickhouse.ranges import (
    Declare,
    NoteForeign,
    Range,
    Wait,
    Write,
    next_step,
    pending_range,
)
from sinks.port import Delivery, Position, TopicPartition

SOURCE = TopicPartition("parley.events.v1", 3)
POISON = "poison"


def test_a_range_survives_its_note() -> None:
    for wanted in (Range(0, 0, 1), Range(5, 17, 2), Range(5, 17, 2, (6, 9))):
        assert pending_range(wanted.note, wanted.generation) == wanted
    assert Range(5, 17, 2, (6, 9)).note == "5-17,2,skip:6+9"
    assert pending_range("", 1) is None


@pytest.mark.parametrize("note", ["5-17,3", "5-17", "hello", "5-17,1,skip:"])
def test_a_note_of_another_projection_is_refused(note: str) -> None:
    with pytest.raises(NoteForeign, match="consumer group of its own"):
        pending_range(note, 1)


def test_the_token_names_the_range_and_nothing_that_changes() -> None:
    token = Range(5, 17, 2).token("clickhouse-parley", "t", 3)
    assert token == Range(5, 17, 2, (6,)).token("clickhouse-parley", "t", 3)
    assert token == "clickhouse-parley:2:t:3:5-17"


def test_a_declared_range_waits_until_all_of_it_is_there() -> None:
    pending = Range(5, 17, 1)
    assert next_step(pending, [5, 8], 1, 10) == Wait()
    assert next_step(pending, [5, 8, 17, 20], 1, 10) == Write(pending, 3)
    assert next_step(pending, [5, 8, 20], 1, 10) == Write(pending, 2)
    assert next_step(None, [5, 8, 17], 1, 2) == Declare(Range(5, 8, 1))
    assert next_step(None, [], 1, 2) == Wait()


class Crash(Exception):
    """The process is gone."""


@dataclass
class World:
    """What outlives a process: the log, Kafka's commits and a table that knows its tokens.

    `trouble` says for each step what happens to it: nothing, or a crash or a failure before or
    after its effect.
    """

    log: list[Delivery]
    trouble: list[str]
    position: Position | None = None
    rows: list[int] = field(default_factory=list)
    tokens: set[Any] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)

    def step(self, effect: Any) -> None:
        what = self.trouble.pop() if self.trouble else "fine"
        if what.endswith("before"):
            raise Crash if what.startswith("crash") else ClickHouseUnavailable("away")
        effect()
        if what.endswith("after"):
            raise Crash if what.startswith("crash") else ClickHouseUnavailable("away")

    async def commit(self, position: Position) -> None:
        self.step(lambda: setattr(self, "position", position))

    def insert_arrow(
        self, table: str, rows: pa.Table, settings: Mapping[str, Any] | None = None
    ) -> None:
        if POISON in rows["conversation_id"].to_pylist():
            raise ClickHouseDataInvalid("Code: 6.", 6)
        if table.endswith("_trial"):
            return
        token = (settings or {})["insert_deduplication_token"]
        self.step(lambda: self.insert(token, rows["kafka_offset"].to_pylist()))

    def insert(self, token: Any, offsets: list[int]) -> None:
        if token not in self.tokens:
            self.tokens.add(token)
            self.rows.extend(offsets)

    async def dead_letter(self, delivery: Delivery, why: Invalid) -> None:
        self.step(lambda: self.dead.add(delivery.offset))


def delivery(number: int, *, poison: bool = False) -> Delivery:
    name = POISON if poison else "c"
    uuid = "00000000-0000-5000-8000-000000000000"
    head = Envelope(uuid, "demo", name, number, number, uuid, None, "r", None, "a", None)
    event = ConversationClosed(head, "m")
    return Delivery(*SOURCE, number, 1, event, key_of(event), None)


async def run_once(world: World, cuts: list[int]) -> None:
    """One life of a process, as the engine drives a sink."""
    sink = ClickHouseSink(world, lambda *_: None, world.dead_letter, batch_records_max=7)  # type: ignore[arg-type]
    await sink.assigned({SOURCE: world.position})
    offset = world.position.offset if world.position else 0
    size = 1
    while True:
        log = [d for d in world.log if d.offset >= offset]
        if not log:
            return
        size = min(size, len(log))
        try:
            position = await sink.write(SOURCE, log[:size], world.commit)
            await world.commit(position)
        except Unavailable:
            size += cuts.pop() if cuts else 1
            continue
        # Taking nothing means: more records, please.
        size = size + 1 if position.offset == offset else (cuts.pop() if cuts else 5)
        offset = position.offset


TROUBLE = ["fine", "crash before", "crash after", "away before", "away after"]


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 3), min_size=1, max_size=25),
    poison=st.sets(st.integers(0, 24), max_size=3),
    trouble=st.lists(st.sampled_from(TROUBLE), max_size=40),
    cuts=st.lists(st.integers(1, 9), max_size=40),
)
def test_every_record_becomes_one_row_whatever_crashes(
    gaps: list[int], poison: set[int], trouble: list[str], cuts: list[int]
) -> None:
    offsets = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    log = [delivery(offset, poison=number in poison) for number, offset in enumerate(offsets)]
    world = World(log, trouble)

    for _ in range(len(trouble) + 1):
        try:
            asyncio.run(run_once(world, cuts))
        except Crash:
            continue
        break

    bad = {offset for number, offset in enumerate(offsets) if number in poison}
    assert sorted(world.rows) == [offset for offset in offsets if offset not in bad]
    assert world.dead == bad


def test_without_its_token_a_repeated_range_is_counted_twice() -> None:
    """The control: what protects is the token, so without it this must fail."""
    world = World([delivery(1)], ["crash after", "fine"])
    with pytest.raises(Crash):
        asyncio.run(run_once(world, []))
    world.tokens.clear()
    asyncio.run(run_once(world, []))
    assert world.rows == [1, 1]


def test_too_many_bad_records_stop_the_sink() -> None:
    log = [delivery(n, poison=True) for n in range(150)]
    world = World(log, [])
    sink = ClickHouseSink(world, lambda *_: None, world.dead_letter)  # type: ignore[arg-type]

    async def write(records: Sequence[Delivery]) -> None:
        await sink.write(SOURCE, records, world.commit)

    with pytest.raises(ClickHouseDataInvalid):
        asyncio.run(write(log))
    assert world.dead == set()
