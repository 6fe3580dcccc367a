"""What becomes of a turn when its model, its keys, Kafka or our own code fail on the way."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from turn_parts import MakeDesk, Person, ScriptedProvider, Sent, attempt, eventually, for_ever

from infra import providers
from infra.keys import Sealer
from infra.providers import FallbackProvider, GroundedProvider
from schemas.commands import CompleteTurn, FailTurn, RestartTurn
from streams.answering.attempt import MERGE_S
from streams.batch import StageLost

SECRET = "4111 1111 1111 1111"


async def test_a_turn_whose_provider_is_lost_in_the_middle_asks_for_a_new_attempt(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    noted: list[int] = []
    provider = ScriptedProvider(("Freeze it ", "4111 1111", providers.Interrupted("gone")))
    message = alice.asks("I lost my card")
    await attempt(
        make_desk(provider), message, on_interrupted=lambda: noted.append(len(sent.commands))
    )
    assert noted == [0]  # before the report, for the next attempt may begin right after that
    (command,) = sent.commands
    assert isinstance(command, RestartTurn)
    assert (command.turn_id, command.attempt) == (alice.turn(), 2)
    assert [alice.open(p.text, p) for p in sent.pieces] == ["Freeze it "]


async def test_the_attempt_after_that_is_answered_by_the_grounded_provider(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    model = ScriptedProvider()
    message = replace(alice.asks("When does my card arrive?"), attempt=2)
    desk = make_desk(FallbackProvider(model, GroundedProvider()))
    await attempt(desk, message, fallback=True)
    assert not model.requests
    assert sent.answer.attempt == 2
    assert sent.answer.usage.provider == "grounded"
    assert sent.answer.degraded == ("provider_passed_over",)
    assert "working days" in alice.open(sent.answer.text)


async def test_a_provider_that_is_away_before_its_first_word_is_asked_again(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider((providers.Unavailable("busy"),), ("Freeze it in the app.",))
    await attempt(make_desk(provider), alice.asks("I lost my card"))
    assert len(provider.requests) == 2
    assert alice.open(sent.answer.text) == "Freeze it in the app."
    assert sent.pieces[0].start == 0


async def test_a_provider_that_is_away_after_its_first_word_costs_the_attempt(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider(("Freeze it ", providers.Unavailable("busy")))
    await attempt(make_desk(provider), alice.asks("I lost my card"))
    (command,) = sent.commands
    assert isinstance(command, RestartTurn)
    assert command.attempt == 2


async def test_a_piece_that_kafka_does_not_take_goes_with_the_next(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    refused: list[int] = []

    async def kafka_is_full() -> None:
        sent.full = 1

    async def kafka_refused() -> None:
        await eventually(lambda: sent.full == 0)
        refused.append(len(sent.pieces))

    script = ("Freeze it ", kafka_is_full, "in the ", kafka_refused, "app. ")
    await attempt(make_desk(ScriptedProvider(script)), alice.asks("I lost my card"))
    assert refused == [1]
    assert [alice.open(p.text, p) for p in sent.pieces] == ["Freeze it ", "in the app. "]


async def test_the_turn_of_an_erased_person_fails_as_erased(
    make_desk: MakeDesk, alice: Person, sealer: Sealer, sent: Sent
) -> None:
    message = alice.asks("I lost my card")
    sealer.erase_subject("demo", alice.subject)
    await attempt(make_desk(ScriptedProvider(("Freeze it ",))), message)
    assert failure(sent) == "erased"
    assert not sent.pieces


async def test_a_person_who_is_erased_while_the_answer_streams_is_told_no_more(
    make_desk: MakeDesk, alice: Person, sealer: Sealer, sent: Sent
) -> None:
    stray: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: stray.append(context["message"]))

    async def erase() -> None:
        sealer.erase_subject("demo", alice.subject)

    async def its_moment_passes() -> None:
        passed = asyncio.Event()
        loop.call_later(2 * MERGE_S, passed.set)
        await passed.wait()

    script = ("Freeze it ", erase, "in the app. ", its_moment_passes, "Then call.")
    await attempt(make_desk(ScriptedProvider(script)), alice.asks("I lost my card"))
    assert failure(sent) == "erased"
    assert len(sent.pieces) == 1
    assert not stray


def failure(sent: Sent) -> str:
    """The code of the failure that is all there is to report."""
    (command,) = sent.commands
    assert isinstance(command, FailTurn)
    assert command.attempt == 1
    return command.code


async def test_a_provider_that_refuses_for_good_fails_the_turn_with_its_code(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider((providers.Rejected("no such model"),))
    await attempt(make_desk(provider), alice.asks("I lost my card"))
    assert failure(sent) == "provider_rejected"


async def test_a_question_that_does_not_open_fails_the_turn(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    message = alice.asks("I lost my card")
    assert message.redacted is not None
    moved = replace(message, redacted=replace(message.redacted, field="elsewhere"))
    await attempt(make_desk(ScriptedProvider()), moved)
    assert failure(sent) == "seal_broken"


async def test_a_defect_fails_its_turn_only_and_its_words_are_not_logged(
    make_desk: MakeDesk, alice: Person, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = ScriptedProvider(("Freeze it ", ValueError(f"can't say {SECRET}")))
    await attempt(make_desk(provider), alice.asks("I lost my card"))
    assert failure(sent) == "internal"
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


async def test_a_cancelled_attempt_says_nothing_more(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    async def somebody_cancels() -> None:
        running.cancel()
        await for_ever()

    provider = ScriptedProvider(("Freeze it ", "in the app. ", somebody_cancels))
    desk = make_desk(provider)
    running = asyncio.create_task(attempt(desk, alice.asks("I lost my card")))
    with pytest.raises(asyncio.CancelledError):
        await running
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * MERGE_S, passed.set)
    await passed.wait()  # until the second piece would have gone out
    assert (len(sent.pieces), sent.commands, provider.left) == (1, [], 1)


async def test_a_result_is_sent_until_kafka_has_it(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    sent.losses = 2
    await attempt(make_desk(GroundedProvider()), alice.asks("When does my card arrive?"))
    assert [type(command) for command in sent.commands] == [CompleteTurn] * 3
    assert len({command.envelope.command_id for command in sent.commands}) == 1


async def test_a_lost_producer_is_the_stages_business(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    sent.full, sent.failure = 1, StageLost("the producer failed for good")
    with pytest.raises(StageLost):
        await attempt(make_desk(GroundedProvider()), alice.asks("When does my card arrive?"))
    assert not sent.commands
