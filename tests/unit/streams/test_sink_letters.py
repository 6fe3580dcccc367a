"""What is no record is put aside by a sink's stage: sealed, durably, and without stopping it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from stage_runs import FIRST, Log, Shelf, sinking
from turn_parts import IDS, WIRES, Person, SchemaIdsInMemory, Sent, eventually

from infra.keys import Sealer
from schemas.events import MessageReceived
from schemas.topics import EVENTS
from schemas.wire import TopicWire
from sinks.port import Commit, Delivery, Position, TopicPartition

NAME = Shelf.name
SECRET = b"my card is 4111 1111 1111 1111"
UNKNOWN = b"\x00\x00\x00\xff\xff" + SECRET


class LetterShelf(Shelf):
    """Keeps what it is given, and notes how many letters came before."""

    def __init__(self, sent: Sent, commit_every_ms: int = 0) -> None:
        self.commit_every_ms = commit_every_ms
        self.kept: list[MessageReceived] = []
        self.letters_before: list[int] = []
        self._sent = sent

    async def write(
        self, source: TopicPartition, batch: Sequence[Delivery], commit: Commit
    ) -> Position:
        self.letters_before.append(len(self._sent.letters))
        self.kept += [delivery.record for delivery in batch]
        return Position(batch[-1].offset + 1)


@pytest.mark.parametrize("commit_every_ms", [0, 50])
@pytest.mark.parametrize(
    ("value", "code"),
    [(SECRET, "wire_format"), (UNKNOWN, "unknown_schema")],
    ids=["garbage", "unknown schema"],
)
async def test_what_is_no_record_becomes_a_sealed_letter_and_the_next_records_are_written(
    log: Log,
    alice: Person,
    sealer: Sealer,
    sent: Sent,
    tmp_path: Path,
    value: bytes,
    code: str,
    commit_every_ms: int,
) -> None:
    shelf = LetterShelf(sent, commit_every_ms)
    async with sinking(shelf, WIRES[EVENTS], sealer, sent, log.broker, tmp_path):
        at = log.broker.append(FIRST, b"somebody", value)
        end = log.add(alice, alice.lives(alice.says("I lost my card")))
        await eventually(lambda: log.committed(FIRST, NAME) == end)
    assert [message.mid for message in shelf.kept] == ["m-1"]
    (letter,) = sent.letters
    assert (letter.stage, letter.topic, letter.partition, letter.offset) == (NAME, *FIRST, at)
    assert letter.code == code
    assert SECRET not in (sent.records[0].value or b"")
    assert (
        sealer.open_bytes(letter.content, context=f"{FIRST.topic}/{FIRST.partition}/{at}") == value
    )


async def test_the_offset_stays_behind_a_letter_that_is_not_durable_yet(
    log: Log, sealer: Sealer, sent: Sent, tmp_path: Path
) -> None:
    sent.holding = True
    async with sinking(
        LetterShelf(sent), WIRES[EVENTS], sealer, sent, log.broker, tmp_path
    ) as source:
        at = log.broker.append(FIRST, b"somebody", SECRET)
        await eventually(lambda: sent.letters)
        await source.call(lambda consumer: None)  # whatever was asked of it before is done now
        assert log.committed(FIRST, NAME) is None
        sent.let_go()
        await eventually(lambda: log.committed(FIRST, NAME) == at + 1)


async def test_a_letter_that_kafka_does_not_take_is_written_again_before_anything_else(
    log: Log, alice: Person, sealer: Sealer, sent: Sent, tmp_path: Path
) -> None:
    shelf = LetterShelf(sent)
    sent.losses = 2
    async with sinking(shelf, WIRES[EVENTS], sealer, sent, log.broker, tmp_path):
        log.broker.append(FIRST, b"somebody", SECRET)
        end = log.add(alice, alice.lives(alice.says("I lost my card")))
        await eventually(lambda: log.committed(FIRST, NAME) == end)
    assert shelf.letters_before == [3]
    assert len(shelf.kept) == 1


async def test_a_registry_that_is_away_makes_no_letters(
    log: Log, alice: Person, sealer: Sealer, sent: Sent, tmp_path: Path
) -> None:
    shelf, ids = LetterShelf(sent), SchemaIdsInMemory()
    ids.away = True
    wire = TopicWire(EVENTS, ids)
    async with sinking(shelf, wire, sealer, sent, log.broker, tmp_path) as source:
        end = log.add(alice, alice.lives(alice.says("I lost my card")))
        await eventually(lambda: source.paused)
        ids.schemas, ids.away = IDS.schemas, False
        await eventually(lambda: log.committed(FIRST, NAME) == end)
    assert (len(shelf.kept), sent.letters) == (1, [])
