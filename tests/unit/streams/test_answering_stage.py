"""The answering stage runs the attempts that the log asks for, and stops those that it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from conversation_story import Later, answered, cancels, closes, restarts, turn_overdue
from stage_runs import FIRST, Log, Run, answering
from turn_parts import (
    IDS,
    MakeDesk,
    Person,
    SchemaIdsInMemory,
    ScriptedProvider,
    Sent,
    eventually,
    for_ever,
)

from infra import providers
from schemas.commands import CompleteTurn, RestartTurn
from schemas.topics import EVENTS
from schemas.wire import TopicWire
from streams.batch import StageLost

MINUTE_US = 60_000_000


async def test_a_turn_that_starts_is_answered(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    async with run(ScriptedProvider(("Freeze it in the app.",))):
        log.asks(alice)
        await eventually(lambda: sent.commands)
    assert alice.open(sent.answer.text) == "Freeze it in the app."
    assert (sent.answer.turn_id, sent.answer.attempt) == (alice.turn(), 1)


@pytest.mark.parametrize("end", ["cancelled", "closed", "overdue", "answered elsewhere"])
async def test_an_attempt_stops_when_the_log_says_that_its_turn_is_over(
    run: Run, log: Log, alice: Person, sent: Sent, end: str
) -> None:
    steps: dict[str, tuple[Any, ...]] = {
        "cancelled": (cancels(2, actor=alice.subject),),
        "closed": (closes(actor=alice.subject),),
        "overdue": (Later(MINUTE_US), turn_overdue(2)),
        "answered elsewhere": (answered(2),),
    }
    provider = ScriptedProvider(("Freeze it ", for_ever))
    async with run(provider):
        log.asks(alice)
        await eventually(lambda: sent.pieces)
        assert provider.left == 0
        log.add(alice, alice.lives(*steps[end]))
        await eventually(lambda: provider.left == 1)
    assert not sent.commands


async def test_a_restart_in_the_log_ends_the_attempt_before_it(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider(("Freeze it ", for_ever), ("Freeze it in the app.",))
    async with run(provider):
        log.asks(alice)
        await eventually(lambda: sent.pieces)
        log.add(alice, alice.lives(restarts(2, 2)))
        await eventually(lambda: sent.commands)
        assert provider.left == 2
    assert sent.answer.attempt == 2
    anew = [alice.open(piece.text, piece) for piece in sent.pieces if piece.attempt == 2]
    assert "".join(anew) == "Freeze it in the app."


async def test_the_attempt_after_a_lost_provider_prefers_the_fallback(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider(
        ("Freeze it ", providers.Interrupted("gone")), ("Freeze it in the app.",), ("Freeze it.",)
    )
    bob = Person(alice.sealer, "c-2", "bob")
    async with run(provider):
        log.asks(alice)
        await eventually(lambda: sent.commands)
        log.add(alice, alice.lives(restarts(2, 2)))
        await eventually(lambda: len(sent.commands) == 2)
        log.asks(bob)
        await eventually(lambda: len(sent.commands) == 3)
    assert [request.prefer_fallback for request in provider.requests] == [False, True, False]
    assert [type(command) for command in sent.commands] == [RestartTurn, CompleteTurn, CompleteTurn]


async def test_many_turns_of_one_partition_are_answered_side_by_side(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider(("Freeze it ", for_ever), ("Freeze it in the app.",))
    bob = Person(alice.sealer, "c-2", "bob")
    async with run(provider):
        log.asks(alice)
        await eventually(lambda: sent.pieces)
        log.asks(bob)
        await eventually(lambda: sent.commands)
    assert bob.open(sent.answer.text) == "Freeze it in the app."


async def test_garbage_is_passed_over(run: Run, log: Log, alice: Person, sent: Sent) -> None:
    async with run(ScriptedProvider(("Freeze it in the app.",))):
        log.broker.append(FIRST, alice.key, b"garbage")
        log.asks(alice)
        await eventually(lambda: sent.commands)


async def test_events_that_come_while_the_registry_is_away_are_followed_later(
    log: Log, alice: Person, sent: Sent, make_desk: MakeDesk, tmp_path: Path
) -> None:
    ids = SchemaIdsInMemory()
    desk = make_desk(ScriptedProvider(("Freeze it in the app.",)))
    worker, source = answering(desk, log.broker, tmp_path, TopicWire(EVENTS, ids))
    await worker.start()
    await eventually(lambda: source.owned)
    ids.away = True
    log.asks(alice)
    await eventually(lambda: source.paused)
    ids.schemas, ids.away = IDS.schemas, False
    await eventually(lambda: sent.commands)
    await worker.stop()


@pytest.mark.parametrize("moment", ["at the assignment", "in an attempt"])
async def test_a_lost_producer_ends_the_process(
    log: Log, alice: Person, sent: Sent, make_desk: MakeDesk, tmp_path: Path, moment: str
) -> None:
    sent.full, sent.failure = 1, StageLost("the producer failed for good")
    worker, source = answering(make_desk(ScriptedProvider(("Freeze it ",))), log.broker, tmp_path)
    if moment == "at the assignment":
        log.asks(alice)
    await worker.start()
    if moment == "in an attempt":
        await eventually(lambda: source.owned)
        log.asks(alice)
    async with asyncio.timeout(20):
        assert await worker.failed() is sent.failure
    await worker.stop()
