"""Partitions of the answering stage come and go: no turn is forgotten, none is answered twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from broker import PARTITIONS, Broker
from confluent_kafka import Consumer, KafkaError, KafkaException
from conversation_story import answered, restarts
from stage_runs import FIRST, GROUP, PLACES, Log, Run, answering
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

from schemas.commands import CompleteTurn, RestartTurn
from schemas.topics import EVENTS
from schemas.wire import TopicWire


@contextmanager
def another_member(broker: Broker) -> Iterator[None]:
    """Somebody who joins the stage's group and takes a part of its partitions."""
    leaves = threading.Event()

    def belong() -> None:
        member = Consumer(broker.options.for_consumer(GROUP))
        member.subscribe([EVENTS.name])
        while not leaves.is_set():
            member.poll(0.05)
        member.close()

    thread = threading.Thread(target=belong)
    thread.start()
    try:
        yield
    finally:
        leaves.set()
        thread.join()


async def test_a_turn_that_was_open_at_the_assignment_asks_once_for_a_new_attempt(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    bob = Person(alice.sealer, "c-2", "bob")
    log.asks(bob)
    log.add(bob, bob.lives(answered(2)))
    log.asks(alice)
    provider = ScriptedProvider(("Freeze it in the app.",))
    async with run(provider):
        await eventually(lambda: sent.commands)
        (command,) = sent.commands
        assert isinstance(command, RestartTurn)
        assert (command.turn_id, command.attempt) == (alice.turn(), 2)
        assert not provider.requests  # whoever had the turn before may still answer
        log.add(alice, alice.lives(restarts(2, 2)))
        await eventually(lambda: len(sent.commands) > 1)
    assert [type(command) for command in sent.commands] == [RestartTurn, CompleteTurn]
    assert [piece.attempt for piece in sent.pieces] == [2, 2]


async def test_a_turn_that_was_restarted_before_asks_for_the_attempt_after_that(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    log.asks(alice)
    log.add(alice, alice.lives(restarts(2, 2), restarts(2, 3)))
    async with run(ScriptedProvider()):
        await eventually(lambda: sent.commands)
    (command,) = sent.commands
    assert isinstance(command, RestartTurn)
    assert command.attempt == 4


@pytest.mark.parametrize("trouble", ["full", "losses"])
async def test_kafka_is_asked_for_the_new_attempt_until_it_has_heard(
    run: Run, log: Log, alice: Person, sent: Sent, trouble: str
) -> None:
    for number, place in enumerate(PLACES):
        log.asks(Person(alice.sealer, f"c-{number}"), place)
    setattr(sent, trouble, 2)
    heard = PARTITIONS + (2 if trouble == "losses" else 0)
    async with run(ScriptedProvider()):
        await eventually(lambda: len(sent.commands) == heard)
    assert len({command.envelope.command_id for command in sent.commands}) == PARTITIONS


async def test_attempts_of_partitions_that_went_away_stop_and_the_others_go_on(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    people = [Person(alice.sealer, f"c-{number}") for number in range(PARTITIONS)]
    provider = ScriptedProvider(*[("Freeze it ", for_ever)] * PARTITIONS)
    async with run(provider) as source:
        for person, place in zip(people, PLACES, strict=True):
            log.asks(person, place)
        await eventually(lambda: len(sent.pieces) == PARTITIONS)
        with another_member(log.broker):
            await eventually(lambda: len(source.owned) < PARTITIONS)
            gone = set(PLACES) - source.owned
            await eventually(lambda: provider.left == len(gone))
            for place in source.owned:
                person = people[place.partition]
                log.add(person, person.lives(answered(2)), place)
            await eventually(lambda: provider.left == PARTITIONS)
    assert gone
    assert not sent.commands


async def test_the_committed_offset_never_passes_the_oldest_open_message(
    run: Run, log: Log, alice: Person, sent: Sent
) -> None:
    bob = Person(alice.sealer, "c-2", "bob")
    provider = ScriptedProvider(("Freeze it ", for_ever), ("Freeze it ", for_ever))
    async with run(provider) as source:
        log.asks(bob)
        oldest = log.asks(alice)
        end = log.add(bob, bob.lives(answered(2)))
        await eventually(lambda: log.committed() == oldest)
        # Its work takes long by nature, so taking a record in is progress enough.
        await eventually(lambda: source.progress(FIRST, oldest) == end)
        end = log.add(alice, alice.lives(answered(2)))
        await eventually(lambda: log.committed() == end)


async def test_a_commit_that_fails_is_tried_again_though_the_log_is_quiet(
    run: Run, log: Log, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    async with run(ScriptedProvider(("Freeze it ", for_ever))) as source:
        call = source.call

        async def refuse_once(function: Callable[[Consumer], Any]) -> Any:
            monkeypatch.setattr(source, "call", call)
            refused.append("once")
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

        monkeypatch.setattr(source, "call", refuse_once)
        oldest = log.asks(alice)
        await eventually(lambda: log.committed() == oldest)
    assert refused == ["once"]


async def test_a_stop_goes_through_while_the_registry_is_away_at_the_assignment(
    log: Log, alice: Person, make_desk: MakeDesk, tmp_path: Path
) -> None:
    log.asks(alice)
    ids = SchemaIdsInMemory()
    ids.away = True
    desk, wire = make_desk(ScriptedProvider()), TopicWire(EVENTS, ids)
    worker, source = answering(desk, log.broker, tmp_path, wire)
    await worker.start()
    await eventually(lambda: ids.asked > 1)
    assert not source.owned
    async with asyncio.timeout(10):
        await worker.stop()


async def test_an_assignment_goes_on_when_the_registry_is_back(
    log: Log, alice: Person, sent: Sent, make_desk: MakeDesk, tmp_path: Path
) -> None:
    log.asks(alice)
    ids = SchemaIdsInMemory()
    ids.away = True
    desk, wire = make_desk(ScriptedProvider()), TopicWire(EVENTS, ids)
    worker, _ = answering(desk, log.broker, tmp_path, wire)
    await worker.start()
    await eventually(lambda: ids.asked)
    ids.schemas, ids.away = IDS.schemas, False
    await eventually(lambda: sent.commands)
    await worker.stop()
    assert isinstance(sent.commands[0], RestartTurn)
