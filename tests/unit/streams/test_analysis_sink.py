"""The analysis stage with its real models: what it records of a message, and what stops it not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conversation_story import SECOND_US, Later
from stage_runs import FIRST, PLACES, Log, sinking
from turn_parts import WIRES, Person, Sent, eventually

from infra.inference.analyser import ENCODER, Analyser, load_models
from infra.inference.encoder import Encoder
from infra.keys import PLAIN, Sealer, open_sealer
from infra.keys.database import open_database
from infra.settings import Settings
from infra.settings.connections import KeySettings
from infra.telemetry.metrics import Metrics
from schemas.commands import RecordAnalysis
from schemas.events import Event
from schemas.parts import Inference
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS
from sinks.port import TopicPartition
from streams import analysis_stage
from streams.analysis_stage import NAME, AnalysisSink
from streams.batch_source import BatchSource
from streams.dead_letters import DeadLetters

CARD, EMAIL = "4111 1111 1111 1111", "anna.meier@example.org"
SPOKEN = f"I lost my card {CARD}, write to {EMAIL}"
REDACTED = "I lost my card <CARD_1>, write to <EMAIL_1>"
LATER = Later(40 * 24 * 3600 * SECOND_US)
"""Into another month, for which nobody has a key yet."""


class BrokenModels:
    """Models that fail as ONNX Runtime may: with the input in the error."""

    def infer(self, texts: Sequence[str]) -> list[tuple[Inference, ...]]:
        raise RuntimeError(f"invalid input: {texts}")


@pytest.fixture(scope="module")
def models(encoder: Encoder) -> Analyser:
    return load_models(encoder, Metrics())


@pytest.fixture
def keys(tmp_path: Path) -> KeySettings:
    return Settings(data_dir=tmp_path, keys={"timeout_ms": 200}).keys


@pytest.fixture
def sealer(keys: KeySettings) -> Iterator[Sealer]:
    """One that does not wait long for its store."""
    opened = open_sealer(keys)
    yield opened
    opened.close()


@contextmanager
def standing_still(keys: KeySettings) -> Iterator[None]:
    """Meanwhile the key store makes no new keys; those that it has can be read."""
    database = open_database(keys.url, 1000)
    with database.transaction(writes=True):
        yield
    database.close()


Run = Callable[..., AbstractAsyncContextManager[BatchSource]]


@pytest.fixture
def analysing(log: Log, models: Analyser, sealer: Sealer, sent: Sent, tmp_path: Path) -> Run:
    """Runs the stage, with the real models if no others are given."""

    def run(chosen: Any = models) -> AbstractAsyncContextManager[BatchSource]:
        wires = {topic: WIRES[topic] for topic in (COMMANDS, EVENTS)}
        letters = DeadLetters(NAME, WIRES[DEAD_LETTERS], sealer, Metrics())
        sink = AnalysisSink(wires, sealer, chosen, sent, letters)  # type: ignore[arg-type]
        return sinking(sink, WIRES[EVENTS], sealer, sent, log.broker, tmp_path)

    return run


def says(person: Person, words: str = SPOKEN, *, mid: str = "m-1") -> list[Event]:
    return person.lives(person.says(words, mid))


def analyses(sent: Sent) -> list[RecordAnalysis]:
    assert all(isinstance(command, RecordAnalysis) for command in sent.commands)
    return sent.commands  # type: ignore[return-value]


def committed(log: Log, place: TopicPartition = FIRST) -> int | None:
    return log.committed(place, NAME)


async def test_an_analysis_has_the_redacted_text_its_findings_and_the_models_verdicts(
    analysing: Run, log: Log, alice: Person, sent: Sent, encoder: Encoder
) -> None:
    async with analysing():
        end = log.add(alice, says(alice))
        await eventually(lambda: committed(log) == end)
    (analysis,) = analyses(sent)
    assert (analysis.message_seq, analysis.mid, analysis.degraded) == (2, "m-1", ())
    assert alice.open(analysis.redacted) == REDACTED
    assert (analysis.redacted.subject, analysis.redacted.field) == (alice.subject, "redacted")
    assert analysis.redacted.key_version != PLAIN
    marks = [(f.kind, REDACTED[f.start : f.end]) for f in analysis.findings]
    assert marks == [("CARD", "<CARD_1>"), ("EMAIL", "<EMAIL_1>")]
    verdicts = {verdict.task: verdict for verdict in analysis.inferences}
    assert verdicts["intent.banking77"].label == "lost_or_stolen_card"
    assert verdicts["embedding"].model == ENCODER
    assert verdicts["embedding"].digest == encoder.model_digest
    assert all(len(verdict.digest) == 64 for verdict in analysis.inferences)
    assert len({verdict.digest for verdict in analysis.inferences}) > 4


async def test_what_leaves_for_the_models_and_the_log_is_redacted(
    analysing: Run, log: Log, alice: Person, sent: Sent, encoder: Encoder
) -> None:
    async with analysing():
        end = log.add(alice, says(alice))
        await eventually(lambda: committed(log) == end)
    assert encoder.recall([REDACTED]) is not None
    assert encoder.recall([SPOKEN]) is None
    (record,) = sent.records
    assert record.key == alice.key
    for words in ("I lost", "4111", EMAIL, "<CARD_1>"):
        assert words.encode() not in (record.value or b"")


async def test_models_that_fail_leave_the_recognisers_work(
    analysing: Run, log: Log, alice: Person, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with analysing(BrokenModels()):
        end = log.add(alice, says(alice))
        await eventually(lambda: committed(log) == end)
    (analysis,) = analyses(sent)
    assert analysis.degraded == ("models_failed",)
    assert analysis.inferences == ()
    assert alice.open(analysis.redacted) == REDACTED
    assert [finding.kind for finding in analysis.findings] == ["CARD", "EMAIL"]
    assert "RuntimeError" in caplog.text
    assert "lost my card" not in caplog.text


async def test_a_repeated_message_gives_the_same_command(
    analysing: Run, log: Log, alice: Person, sent: Sent
) -> None:
    heard = says(alice)
    async with analysing():
        log.add(alice, heard)
        end = log.add(alice, [*heard, *says(alice, "And my PIN?", mid="m-2")])
        await eventually(lambda: committed(log) == end)
    first, again, other = (analysis.envelope.command_id for analysis in analyses(sent))
    assert first == again != other


async def test_a_key_that_is_missing_holds_up_its_own_partition_only(
    analysing: Run, log: Log, alice: Person, sealer: Sealer, keys: KeySettings, sent: Sent
) -> None:
    bob = Person(sealer, "c-2", "bob")
    bob.lives(LATER)
    heard = {bob: says(bob), alice: says(alice)}
    async with analysing() as source:
        with standing_still(keys):
            bobs_end = log.add(bob, heard[bob], PLACES[1])
            end = log.add(alice, heard[alice], FIRST)
            await eventually(lambda: committed(log) == end and source.paused)
            assert [a.envelope.conversation_id for a in analyses(sent)] == ["c-1"]
            assert committed(log, PLACES[1]) in (None, bobs_end - 1)
        await eventually(lambda: committed(log, PLACES[1]) == bobs_end)
    assert [a.envelope.conversation_id for a in analyses(sent)] == ["c-1", "c-2"]


async def test_the_messages_before_one_whose_key_is_missing_are_analysed(
    analysing: Run, log: Log, alice: Person, sealer: Sealer, keys: KeySettings, sent: Sent
) -> None:
    bob = Person(sealer, "c-2", "bob")
    bob.lives(LATER)
    heard = {bob: says(bob), alice: says(alice)}
    async with analysing():
        with standing_still(keys):
            front = log.add(alice, heard[alice])
            end = log.add(bob, heard[bob])
            await eventually(lambda: committed(log) in (front, front + 1))
            assert len(analyses(sent)) == 1
        await eventually(lambda: committed(log) == end)
    assert [a.envelope.conversation_id for a in analyses(sent)] == ["c-1", "c-2"]


async def test_an_erased_persons_message_is_passed_over(
    analysing: Run, log: Log, alice: Person, sealer: Sealer, sent: Sent
) -> None:
    bob = Person(sealer, "c-2", "bob")
    events = says(bob)
    sealer.erase_subject("demo", bob.subject)
    async with analysing():
        log.add(bob, events)
        end = log.add(alice, says(alice))
        await eventually(lambda: committed(log) == end)
    assert [a.envelope.conversation_id for a in analyses(sent)] == ["c-1"]
    assert not sent.letters


async def test_a_message_that_does_not_open_is_put_aside_and_the_next_is_analysed(
    analysing: Run, log: Log, alice: Person, sealer: Sealer, sent: Sent
) -> None:
    bob = Person(sealer, "c-2", "bob")
    stolen = bob.lives(alice.says(SPOKEN))  # sealed for alice's conversation
    async with analysing():
        log.add(bob, stolen)
        end = log.add(alice, says(alice))
        await eventually(lambda: committed(log) == end)
    assert [a.envelope.conversation_id for a in analyses(sent)] == ["c-1"]
    (letter,) = sent.letters
    place = f"{letter.topic}/{letter.partition}/{letter.offset}"
    assert (letter.stage, letter.code, place) == (NAME, "seal_broken", f"{EVENTS.name}/0/1")
    kept = WIRES[EVENTS].decode(sealer.open_bytes(letter.content, context=place))
    assert kept == stolen[1]


async def test_results_that_kafka_does_not_take_in_time_are_made_again(
    analysing: Run, log: Log, alice: Person, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_stage, "SEND_S", 0.05)
    sent.holding = True
    async with analysing() as source:
        end = log.add(alice, says(alice))
        await eventually(lambda: len(sent.commands) > 1)
        assert committed(log) is None
        assert not source.was_excused(0.0)  # whoever watches asks Kafka itself
        sent.let_go()
        await eventually(lambda: committed(log) == end)
    assert len({analysis.envelope.command_id for analysis in analyses(sent)}) == 1
    assert len(sent.commands) > 1
