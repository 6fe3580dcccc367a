"""The stages as processes that can die, or sleep through their dismissal, between any two steps.

Each is a generator that yields wherever another process may get ahead of it. What is theirs alone
(memory) goes with the generator; what is durable lies in the broker and the stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from storm.world import row_of

from processors.analysis.analysing import interpret, prepare
from processors.conversation.policy import Policy
from schemas.commands import CompleteTurn, RestartTurn
from schemas.envelope import CommandEnvelope, Sealed
from schemas.events import Event, MessageReceived, TurnStarted
from schemas.identifiers import internal_command_id
from schemas.parts import Usage
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS, conversation_key
from sinks.clickhouse.ranges import Declare, Wait, Write, next_step, pending_range
from sinks.port import Delivery, Position, TopicPartition
from streams.answering.attempt import restart
from streams.answering.open_messages import Begin, End, OpenMessage, OpenMessages
from streams.conversation_stage import ConversationTransform, conversation_format
from streams.state import MemoryState
from streams.transactional_stage import Output

from .broker import Broker, Written
from .stores import Placed, Redis, Table
from .wires import COMMAND_WIRE, EVENT_WIRE, SNAPSHOT_WIRE

Process = Iterator[None]
BATCH_MAX = 4
ROWS_MAX = 3


@dataclass(slots=True)
class Site:
    """What processes share: the durable things, the clock, and the chance of this run."""

    broker: Broker
    rng: Random
    policy: Policy
    now_us: int
    clickhouse: Table = field(default_factory=Table)
    redis: Redis = field(default_factory=Redis)
    hesitation: float = 0.3
    """How likely it is that an answer which could be complete takes longer."""
    poisoned: list[str] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    """Promises that are broken on purpose."""

    def events(self, start: int, most: int = 1000) -> list[tuple[int, Event]]:
        """Events from an offset on."""
        return [
            (o, EVENT_WIRE.decode(r.value)) for o, r in self.broker.read(EVENTS.name, start, most)
        ]


@dataclass(frozen=True, slots=True)
class _Delivered:
    """What librdkafka tells of a delivered record."""

    at: int

    def offset(self) -> int:
        return self.at


# The conversation stage: one transaction for a batch.


def conversation(site: Site) -> Process:
    """Folds commands into events."""
    broker = site.broker
    source = TopicPartition(COMMANDS.name, 0)

    def open_states(numbers: Sequence[int]) -> dict[int, MemoryState[Any]]:
        state = MemoryState(conversation_format(SNAPSHOT_WIRE))
        log = broker.read(CONVERSATIONS.name, 0, 10**6)
        state.restore([(r.key, r.value) for _, r in log], len(log))
        return dict.fromkeys(numbers, state)

    owner = broker.take_over("conversation", fences="no fencing" not in site.broken)
    yield
    transform = ConversationTransform(
        EVENT_WIRE, SNAPSHOT_WIRE, COMMAND_WIRE, open_states, lambda tenant: site.policy
    )
    transform.assigned([source])
    yield
    while True:
        start = broker.position("conversation").offset
        batch = [_delivery(o, r.value) for o, r in broker.read(source.topic, start, BATCH_MAX)]
        reached = Position(start + len(batch))
        if "offsets first" in site.broken:
            broker.commit(owner, reached)
            yield
        writes: list[Written] = []
        told: list[tuple[int, Callable[..., None]]] = []

        def send(topic: str, key: bytes, value: Any, headers: Any = None, tell: Any = None) -> None:
            if tell is not None:
                told.append((len(writes), tell))  # noqa: B023  # used before the next round
            writes.append(Written(topic, key, value))  # noqa: B023

        out = Output(send, lambda delivery, error: site.poisoned.append(str(error)))
        changes = transform.apply({source: batch} if batch else {}, site.now_us, out)
        yield
        offsets = broker.commit(owner, reached, writes)
        for number, tell in told:
            tell(None, _Delivered(offsets[number]))
        yield
        transform.committed(changes)
        yield


def _delivery(offset: int, value: bytes) -> Delivery:
    return Delivery(COMMANDS.name, 0, offset, 0, COMMAND_WIRE.decode(value), None)


# Stages without transactions: what they write may repeat.


def analysis(site: Site) -> Process:
    """Analyses messages; writes first, commits later."""
    broker = site.broker
    owner = broker.take_over("analysis")
    at = broker.position("analysis").offset
    yield
    while True:
        for offset, event in site.events(at, BATCH_MAX):
            if isinstance(event, MessageReceived):
                reading = prepare(event, "hello")
                sealed = Sealed(event.text.subject, "2026-11/1", "o", "redacted", bytes(12), b"")
                command = interpret(reading, sealed, (), site.now_us, ())
                yield
                broker.append(on_commands(command))
            yield
            at = offset + 1
            if site.rng.random() < 0.5:
                broker.commit(owner, Position(at))
        broker.commit(owner, Position(at))
        yield


def answering(site: Site) -> Process:
    """Answers turns, several at once, in any order."""
    broker = site.broker
    owner = broker.take_over("answering")
    yield
    at = broker.position("answering").offset
    messages = OpenMessages(at)
    for offset, event in site.events(at):
        messages.take_or_pass(event, offset)
        at = offset + 1
    for message in messages.begun():
        yield
        assert message.turn is not None
        broker.append(on_commands(restart(message.turn, message.attempt + 1, None)))
    running: dict[str, tuple[TurnStarted, int]] = {}
    while True:
        yield
        for offset, event in site.events(at, BATCH_MAX):
            _follow(messages.take_or_pass(event, offset), running)
            at = offset + 1
        yield
        if running and site.rng.random() >= site.hesitation:
            turn, attempt = running.pop(site.rng.choice(sorted(running)))
            broker.append(on_commands(_end_of(turn, attempt, site)))
        yield
        broker.commit(owner, Position(messages.committable))


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
    text = Sealed("p", "2026-11/1", command_id, "answer", bytes(12), b"%d" % attempt)
    usage = Usage("grounded", "grounded", 0, 0, 0)
    return CompleteTurn(
        envelope, turn.turn_id, attempt, text, (), usage, False, 0.9, 0, 1000, 2000
    )  # fmt: skip


def on_commands(command: Any) -> Written:
    """A command on its way to the conversation stage."""
    place = command.envelope
    key = conversation_key(place.tenant_id, place.conversation_id)
    return Written(COMMANDS.name, key, COMMAND_WIRE.encode(command))


# Sinks: first the write, then the offset.


def clickhouse(site: Site) -> Process:
    """Writes rows once each, by the protocol of `sinks.clickhouse.ranges`."""
    broker = site.broker
    owner = broker.take_over("clickhouse")
    yield
    position = broker.position("clickhouse")
    pending = pending_range(position.note, 1)
    at = position.offset
    while True:
        yield
        waiting = site.events(at)
        match next_step(pending, [offset for offset, _ in waiting], 1, ROWS_MAX):
            case Declare(wanted):
                broker.commit(owner, Position(wanted.first, wanted.note))
                pending = wanted
            case Write(wanted, count):
                token = wanted.token("clickhouse", EVENTS.name, 0)
                if "no token" in site.broken:
                    token = str(site.rng.random())
                site.clickhouse.insert([placed(event) for _, event in waiting[:count]], token)
                yield
                at, pending = wanted.last + 1, None
                broker.commit(owner, Position(at))
            case Wait():
                pass


def redis(site: Site) -> Process:
    """Applies events by their `seq`; the store keeps its own offset."""
    store = site.redis
    yield
    while True:
        for offset, event in site.events(store.offset, ROWS_MAX):
            yield
            if not store.apply(offset, placed(event)):
                break
        yield


def placed(event: Event) -> Placed:
    """An event as a copy has it, with its conversation."""
    text = event.text.ciphertext.decode() if isinstance(event, MessageReceived) else ""
    return (event.envelope.tenant_id, event.envelope.conversation_id), row_of(event, text)


Stage = Callable[[Site], Process]
STAGES: Mapping[str, Stage] = {
    "conversation": conversation,
    "analysis": analysis,
    "answering": answering,
    "clickhouse": clickhouse,
    "redis": redis,
}
