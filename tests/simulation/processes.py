"""The stages as processes that can die, or sleep through their dismissal, between any two steps.

The conversation stage is the engine's own code over simulated clients, in several processes. The
others are generators over the engine's logic, which yield wherever another process may get ahead.
What is theirs alone (memory) goes with the process; what is durable lies in the broker and the
stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Message
from storm.world import row_of

from infra.telemetry.metrics import Metrics
from processors.analysis.analysing import interpret, prepare
from processors.conversation.policy import Policy
from schemas.commands import CompleteTurn, RestartTurn
from schemas.envelope import CommandEnvelope, Sealed
from schemas.events import Event, MessageReceived, TurnStarted
from schemas.failures import Invalid, Unavailable
from schemas.identifiers import internal_command_id
from schemas.parts import Usage
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS, key_of
from sinks.clickhouse.ranges import Declare, Wait, Write, next_step, pending_range
from sinks.port import Position
from streams.answering.attempt import restart
from streams.answering.open_messages import Begin, End, OpenMessage, OpenMessages
from streams.batch import Batch, Rewind, StageLost
from streams.batch_source import BatchSource
from streams.conversation_stage import ConversationTransform, conversation_format
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.kafka_options import KafkaOptions
from streams.restore import restore as restore_states
from streams.state import MemoryState
from streams.transactional_stage import TransactionalStage
from streams.transactions import Outgoing, Transactions

from .broker import PARTITIONS, Written
from .site import Site, step
from .stores import Placed
from .wires import COMMAND_WIRE, EVENT_WIRE, SNAPSHOT_WIRE

Steps = Iterator[None]
BATCH_MAX = 4
ROWS_MAX = 3
NONCE = bytes(12)
CONVERSATION = "conversation"
METRICS = Metrics()


# The conversation stage: the engine's own code, from its consumer to its producer.


class _Letters(DeadLetters):
    """Writes down what was put aside; there should be nothing."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def letter(self, message: Message, reason: Invalid) -> Outgoing:
        self._site.poisoned.append(str(reason))
        return Outgoing("", b"", b"")


class _Source(BatchSource):
    """Works its batches off where it stands, without an event loop."""

    def __init__(self, stage: TransactionalStage, options: KafkaOptions) -> None:
        super().__init__(
            stage.name,
            options.for_consumer(stage.name),
            [COMMANDS.name],
            stage,
            deliver=lambda batch: None,
            batch_max=100,
            metrics=METRICS,
        )
        self._stage = stage

    def run(self) -> None:
        """Joins the group and goes on until something ends it."""
        self._join()
        while not self._stopping.is_set():
            self._step()
        self._consumer.close()

    def _work_off(self, batch: Batch) -> None:
        if "offsets first" in Site.current.broken:
            for (_, partition), messages in batch.messages.items():
                reached = Position(messages[-1].offset() + 1)
                Site.current.broker.settle(self.name, partition, reached)
            step()
        try:
            self._stage._handle(batch)
        except (Rewind, StageLost) as outcome:
            batch.settle(outcome)
        else:
            batch.settle()


def conversation(site: Site) -> None:
    """Folds commands into events, as one worker of several."""
    options = KafkaOptions("simulated")

    def open_states(numbers: Sequence[int]) -> dict[int, MemoryState[Any]]:
        states = {n: MemoryState(conversation_format(SNAPSHOT_WIRE)) for n in numbers}
        restore_states(CONVERSATIONS.name, states, options)
        return states

    def policy_of(tenant: str) -> Policy:
        if site.rng.random() < site.mishap / 3:
            raise Unavailable("what a policy rests on is away")
        return site.policy

    transform = ConversationTransform(
        EVENT_WIRE, SNAPSHOT_WIRE, COMMAND_WIRE, open_states, policy_of
    )
    stage = TransactionalStage(
        CONVERSATION,
        Decoder([COMMAND_WIRE]),
        transform,
        Transactions(CONVERSATION, options),
        _Letters(site),
        METRICS,
    )
    source = _Source(stage, options)
    assert site.running is not None
    site.running.stop = source._stopping.set
    source.run()


# Stages without transactions: what they write may repeat.


def analysis(site: Site) -> Steps:
    """Analyses messages; writes first, commits later."""
    broker = site.broker
    owner = broker.take_over("analysis")
    at = {p: _offset(site, "analysis", p) for p in range(PARTITIONS)}
    yield
    while True:
        for partition in at:
            for offset, event in events(site, partition, at[partition], BATCH_MAX):
                if isinstance(event, MessageReceived):
                    reading = prepare(event, "hello")
                    sealed = Sealed(event.text.subject, "2026-11/1", "o", "redacted", NONCE, b"")
                    command = interpret(reading, sealed, (), site.now_us, ())
                    yield
                    broker.append(on_commands(command))
                yield
                at[partition] = offset + 1
                if site.rng.random() < 0.5:
                    broker.commit(owner, {partition: Position(at[partition])})
        broker.commit(owner, {p: Position(o) for p, o in at.items()})
        yield


def answering(site: Site) -> Steps:
    """Answers turns, several at once, in any order."""
    broker = site.broker
    owner = broker.take_over("answering")
    yield
    at = {p: _offset(site, "answering", p) for p in range(PARTITIONS)}
    messages = {p: OpenMessages(offset) for p, offset in at.items()}
    for partition in at:
        for offset, event in events(site, partition, at[partition]):
            messages[partition].take_or_pass(event, offset)
            at[partition] = offset + 1
        for message in messages[partition].begun():
            yield
            assert message.turn is not None
            broker.append(on_commands(restart(message.turn, message.attempt + 1, None)))
    running: dict[str, tuple[TurnStarted, int]] = {}
    while True:
        for partition in at:
            yield
            for offset, event in events(site, partition, at[partition], BATCH_MAX):
                _follow(messages[partition].take_or_pass(event, offset), running)
                at[partition] = offset + 1
        yield
        if running and site.rng.random() >= site.hesitation:
            turn, attempt = running.pop(site.rng.choice(sorted(running)))
            broker.append(on_commands(_end_of(turn, attempt, site)))
        yield
        broker.commit(owner, {p: Position(m.committable) for p, m in messages.items()})


def _follow(step: Begin | End | None, running: dict[str, tuple[TurnStarted, int]]) -> None:
    match step:
        case Begin(OpenMessage(turn=turn, attempt=attempt)):
            assert turn is not None
            running[turn.turn_id] = turn, attempt
        case End(turn_id):
            running.pop(turn_id, None)
        case None:
            pass


def _end_of(turn: TurnStarted, attempt: int, site: Site) -> CompleteTurn | RestartTurn:
    if site.rng.random() < 0.1:
        return restart(turn, attempt + 1, None)  # the provider was lost in mid-answer
    place = turn.envelope
    command_id = internal_command_id(
        place.tenant_id, place.conversation_id, "answering", turn.turn_id, "complete", attempt
    )
    envelope = CommandEnvelope(
        command_id,
        place.tenant_id,
        place.conversation_id,
        site.now_us,
        "answering",
        place.event_id,
        place.correlation_id,
        None,
        "answering",
        None,
    )
    text = Sealed("p", "2026-11/1", command_id, "answer", NONCE, b"%d" % attempt)
    usage = Usage("grounded", "grounded", 0, 0, 0)
    return CompleteTurn(
        envelope, turn.turn_id, attempt, text, (), usage, False, 0.9, 0, 1000, 2000
    )  # fmt: skip


def on_commands(command: Any) -> Written:
    """A command on its way to the conversation stage."""
    return Written(COMMANDS.name, key_of(command), COMMAND_WIRE.encode(command))


# Sinks: first the write, then the offset.


def clickhouse(site: Site) -> Steps:
    """Writes rows once each, by the protocol of `sinks.clickhouse.ranges`."""
    broker = site.broker
    owner = broker.take_over("clickhouse")
    yield
    at = {p: _offset(site, "clickhouse", p) for p in range(PARTITIONS)}
    notes = {p: broker.position("clickhouse", p) for p in at}
    pending = {p: pending_range(note.note, 1) if note else None for p, note in notes.items()}
    while True:
        for partition in at:
            yield
            waiting = events(site, partition, at[partition])
            match next_step(pending[partition], [offset for offset, _ in waiting], 1, ROWS_MAX):
                case Declare(wanted):
                    broker.commit(owner, {partition: Position(wanted.first, wanted.note)})
                    pending[partition] = wanted
                case Write(wanted, count):
                    token = wanted.token("clickhouse", EVENTS.name, partition)
                    if "no token" in site.broken:
                        token = str(site.rng.random())
                    site.clickhouse.insert([placed(event) for _, event in waiting[:count]], token)
                    yield
                    at[partition], pending[partition] = wanted.last + 1, None
                    broker.commit(owner, {partition: Position(wanted.last + 1)})
                case Wait():
                    pass


def redis(site: Site) -> Steps:
    """Applies events by their `seq`; the store keeps its own offsets."""
    store = site.redis
    yield
    while True:
        for partition in range(PARTITIONS):
            begin = store.offsets[partition]
            for offset, event in events(site, partition, begin, ROWS_MAX):
                yield
                if not store.apply(partition, begin, offset, placed(event)):
                    break
                begin = offset + 1
            yield


def events(site: Site, partition: int, start: int, most: int = 1000) -> list[tuple[int, Event]]:
    """Committed events of a partition from an offset on."""
    found, _ = site.broker.log(EVENTS.name, partition).read(start, most)
    return [(offset, EVENT_WIRE.decode(record.value)) for offset, record in found]


def _offset(site: Site, stage: str, partition: int) -> int:
    position = site.broker.position(stage, partition)
    return position.offset if position else 0


def placed(event: Event) -> Placed:
    """An event as a copy has it, with its conversation."""
    text = event.text.ciphertext.decode() if isinstance(event, MessageReceived) else ""
    return (event.envelope.tenant_id, event.envelope.conversation_id), row_of(event, text)


Stage = Callable[[Site], Steps]
STAGES: Mapping[str, Stage] = {
    "analysis": analysis,
    "answering": answering,
    "clickhouse": clickhouse,
    "redis": redis,
}
"""Those that one process has to itself."""
