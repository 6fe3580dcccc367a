"""The engine on the real broker and registry: killed, paused, poisoned, and nothing is lost."""

from __future__ import annotations

import random
import signal
import statistics
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Assigned
from engine_parts import (
    USED,
    Follower,
    Place,
    WorkerProcess,
    moved,
    outgoing,
    produce,
    story,
    whole_conversation,
    with_repetitions,
)

from infra.keys import SealBroken, open_sealer
from infra.schema_registry import SchemaRegistry
from infra.settings.loading import load_settings
from processors.conversation.evolve import evolve
from processors.conversation.state import new_conversation
from schemas.events import (
    ConversationStarted,
    Event,
    MessageAnalysed,
    MessageReceived,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from schemas.records import DeadLetter
from schemas.topics import COMMANDS, CONVERSATIONS, DEAD_LETTERS, EVENTS, RECORD_BYTES_MAX
from sinks.port import TopicPartition
from streams.batch import Rewind, StageLost
from streams.restore import read_to_end
from streams.transactions import Outgoing, Transactions

pytestmark = pytest.mark.stack

MESSAGES, CONVERSATIONS_COUNT = 4, 250
EVENTS_EACH = 1 + 4 * MESSAGES
WHOLE = [ConversationStarted] + MESSAGES * [
    MessageReceived,
    MessageAnalysed,
    TurnStarted,
    TurnCompleted,
]


@pytest.fixture(scope="module")
def ids_file(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("ids") / "schemas.json"
    SchemaRegistry(stack.addresses["registry"], cache_file=path).register(USED)
    return path


@pytest.fixture
def place(stack: Any, ids_file: Path, tmp_path: Path) -> Place:
    at = stack.addresses
    return Place(at["kafka"], at["registry"], str(ids_file), str(tmp_path)).create()


@pytest.fixture
def workers(place: Place) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(name: str, **options: Any) -> WorkerProcess:
        started.append(WorkerProcess(place, name, options).start())
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


def until(follower: Follower, count: int, each: Callable[[], None], timeout_s: float = 60) -> None:
    """Reads until there are `count` records."""
    deadline = time.monotonic() + timeout_s
    while follower.read() < count:
        each()
        assert time.monotonic() < deadline, f"{len(follower.messages)} of {count} records came"


def nothing() -> None:
    pass


# Kills and zombies


def test_whatever_dies_or_sleeps_every_event_is_in_the_log_once_and_the_snapshots_are_its_fold(
    place: Place, workers: Callable[..., WorkerProcess]
) -> None:
    chance = random.Random(20260921)
    plain = whole_conversation(MESSAGES)
    conversations = {
        name: [moved(command, name) for command in plain]
        for name in (f"c-{n}" for n in range(CONVERSATIONS_COUNT))
    }
    sent = produce(place, with_repetitions(conversations, 0.1, chance))
    assert sent > 1.08 * 3 * MESSAGES * CONVERSATIONS_COUNT
    wanted = EVENTS_EACH * CONVERSATIONS_COUNT
    log = Follower(place, EVENTS)
    killed = workers("killed", on_disk=True, batch_max=25)
    zombie = workers("zombie", batch_max=25)

    until(log, wanted // 8, nothing)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    killed.start()

    until(log, wanted // 3, nothing)
    zombie.send(signal.SIGSTOP)
    # The other one can only come so far if it took the sleeper's partitions over.
    until(log, wanted * 3 // 4, killed.supervise)
    zombie.send(signal.SIGCONT)

    def supervise() -> None:
        killed.supervise()
        zombie.supervise()

    until(log, wanted, supervise)
    assert_that_nothing_more_comes(log, wanted)
    check_the_log(log, place, list(conversations))
    log.close()


def assert_that_nothing_more_comes(log: Follower, wanted: int) -> None:
    # All commands are handled by now, and doubled effects would already be behind them.
    for _ in range(5):
        assert log.read(0.3) == wanted


def check_the_log(log: Follower, place: Place, names: list[str]) -> None:
    by_key = log.by_key()
    assert set(by_key) == {f"demo:{name}".encode() for name in names}
    snapshots = Follower(place, CONVERSATIONS)
    while snapshots.read(1.0) != snapshots.read(1.0):
        pass
    latest = {key: states[-1] for key, states in snapshots.by_key().items()}
    snapshots.close()
    for key, events in by_key.items():
        assert [e.envelope.seq for e in events] == list(range(1, EVENTS_EACH + 1)), key
        assert [type(e) for e in events] == WHOLE, key
        name = key.decode().removeprefix("demo:")
        assert latest[key] == reduce(evolve, events, new_conversation("demo", name))
    ids = Counter(e.envelope.event_id for events in by_key.values() for e in events)
    assert ids.most_common(1)[0][1] == 1


# Fencing


def test_an_offset_of_an_old_assignment_is_refused_by_the_broker(place: Place) -> None:
    """And with it the outputs: they are in the same transaction."""
    stale, group = stale_metadata(place)
    commands = place.named(COMMANDS).name
    transactions = Transactions(f"{place.prefix}fencing", place.options)
    partition = TopicPartition(commands, 0)
    transactions.open([partition])
    value = Outgoing(place.named(EVENTS).name, b"demo:c-1", b"written by a zombie")
    with pytest.raises((Rewind, StageLost)):
        write(transactions, value, {partition: 1}, stale)
    assert committed(place, group) == -1001
    log = Follower(place, EVENTS)
    assert log.read(3.0) == 0
    log.close()


def test_without_the_groups_metadata_nothing_would_stop_a_zombie(place: Place) -> None:
    """The negative control: what the broker knows of the assignment is what protects."""
    _, group = stale_metadata(place)
    classic = replace(place.options, group_protocol="classic")
    nobody = Consumer(classic.for_consumer(group))
    forged = nobody.consumer_group_metadata()  # of a consumer that never joined
    transactions = Transactions(f"{place.prefix}fencing", place.options)
    partition = TopicPartition(place.named(COMMANDS).name, 0)
    transactions.open([partition])
    value = Outgoing(place.named(EVENTS).name, b"demo:c-1", b"written by a zombie")
    write(transactions, value, {partition: 1}, forged)
    assert committed(place, group) == 1
    log = Follower(place, EVENTS)
    until(log, 1, nothing)
    log.close()


def test_who_takes_a_partition_over_ends_the_writing_of_the_one_before(place: Place) -> None:
    partition = TopicPartition(place.named(COMMANDS).name, 0)
    told: list[bool] = []
    value = Outgoing(
        place.named(EVENTS).name, b"demo:c-1", b"v", None, lambda error, _: told.append(not error)
    )
    before = Transactions(f"{place.prefix}fencing", place.options)
    before.open([partition])
    write(before, value)
    heir = Transactions(f"{place.prefix}fencing", place.options)
    heir.open([partition])
    with pytest.raises(StageLost):
        write(before, value)
    assert told == [True, False]
    write(heir, value)


def test_a_partition_is_taken_over_without_waiting_for_a_timer(place: Place) -> None:
    """Its conversations stand still meanwhile. librdkafka knows two timers of half a second."""
    partition = TopicPartition(place.named(COMMANDS).name, 0)
    snapshots = place.named(CONVERSATIONS).name
    starts = dict.fromkeys(range(CONVERSATIONS.partitions), 0)
    took_s = []
    for _ in range(6):
        began = time.monotonic()
        heir = Transactions(f"{place.prefix}fencing", place.options)
        heir.open([partition])
        list(read_to_end(snapshots, starts, place.options))
        took_s.append(time.monotonic() - began)
        write(heir, Outgoing(snapshots, b"demo:c-1", b"v"))
    assert statistics.median(took_s[1:]) < 0.4, took_s  # the first one has nothing to read


def test_the_heir_of_one_partition_waits_for_no_transaction_of_another(place: Place) -> None:
    """A worker writes all of its partitions under one id; a part of them can be handed on."""
    one, other = (TopicPartition(place.named(COMMANDS).name, n) for n in range(2))
    value = Outgoing(place.named(EVENTS).name, b"demo:c-1", b"v")
    before = Transactions(f"{place.prefix}fencing", place.options)
    before.open([one, other])
    write(before, value)
    before.close([one])  # the one that it wrote under
    heir = Transactions(f"{place.prefix}fencing", place.options)
    heir.open([one])
    write(before, value)
    write(heir, value)
    before.close([other])
    with pytest.raises(Rewind):
        before.begin()


def test_what_was_aborted_was_never_written(place: Place) -> None:
    partition = TopicPartition(place.named(COMMANDS).name, 0)
    events = place.named(EVENTS).name
    transactions = Transactions(f"{place.prefix}fencing", place.options)
    transactions.open([partition])
    taken_back = transactions.begin()
    taken_back.send(events, b"demo:c-1", b"taken back")
    assert isinstance(taken_back.abort("the key store is away"), Rewind)
    write(transactions, Outgoing(events, b"demo:c-1", b"kept"))
    log = Follower(place, EVENTS)
    until(log, 1, nothing)
    assert log.read(1.0) == 1
    assert [message.value() for message in log.messages] == [b"kept"]
    log.close()


def test_who_writes_goes_on_when_its_broker_was_killed(stack: Any, place: Place) -> None:
    """librdkafka's producer would wait for ever to add offsets through the broker that it knew."""
    partition = TopicPartition(place.named(COMMANDS).name, 0)
    group = f"{place.prefix}killed"
    consumer = Consumer(place.options.for_consumer(group))
    consumer.subscribe([partition.topic])
    joined(consumer)
    transactions = Transactions(f"{place.prefix}killed", place.options)
    transactions.open([partition])
    value = Outgoing(place.named(EVENTS).name, b"demo:c-1", b"v")
    write(transactions, value, {partition: 1}, consumer.consumer_group_metadata())
    left_open = transactions.begin()
    left_open.send(place.named(EVENTS).name, b"demo:c-1", b"left open")
    before = weakref.ref(transactions._writer)
    stack.kill("kafka")
    give_up_at = time.monotonic() + 30
    while not left_open._writer.has_lost_brokers():
        assert time.monotonic() < give_up_at
    with pytest.raises(Rewind, match="Kafka was lost"):
        left_open.commit({partition: 2}, consumer.consumer_group_metadata())
    del left_open
    written = False
    while not written:
        assert time.monotonic() < give_up_at
        consumer.poll(0.1)
        with suppress(Rewind):
            write(transactions, value, {partition: 3}, consumer.consumer_group_metadata())
            written = True
    assert committed(place, group) == 3
    assert before() is None, "the producer before would go on behind our back"
    log = Follower(place, EVENTS)
    until(log, 2, nothing)
    assert [message.value() for message in log.messages] == [b"v", b"v"]
    log.close()
    calm_at = time.monotonic() + 3
    while time.monotonic() < calm_at:  # nobody who comes late fences the one who writes
        write(transactions, value)
    consumer.close()


def test_an_address_where_nobody_listens_is_no_lost_broker(place: Place) -> None:
    options = replace(place.options, bootstrap_servers=f"127.0.0.1:1,{place.kafka}")
    transactions = Transactions(f"{place.prefix}knocking", options)
    transactions.open([TopicPartition(place.named(COMMANDS).name, 0)])
    value = Outgoing(place.named(EVENTS).name, b"demo:c-1", b"v")
    write(transactions, value)
    first = transactions._writer
    give_up_at = time.monotonic() + 2
    while time.monotonic() < give_up_at:
        write(transactions, value)
        assert transactions._writer is first


def write(
    transactions: Transactions,
    output: Outgoing,
    offsets: dict[TopicPartition, int] | None = None,
    group_metadata: Any = None,
) -> None:
    transaction = transactions.begin()
    transaction.send(*output)
    transaction.commit(offsets or {}, group_metadata)


def stale_metadata(place: Place) -> tuple[Any, str]:
    """The metadata of a member that has left a group which goes on without it."""
    group = f"{place.prefix}{uuid.uuid4().hex[:6]}"
    commands = place.named(COMMANDS).name
    one, other = (Consumer(place.options.for_consumer(group)) for _ in range(2))
    one.subscribe([commands])
    joined(one)
    stale = one.consumer_group_metadata()
    one.close()
    other.subscribe([commands])
    joined(other)
    # Kept alive: in an empty group, the broker would have nothing to compare with.
    KEPT.append(other)
    return stale, group


KEPT: list[Consumer] = []


@pytest.fixture(autouse=True)
def close_kept() -> Iterator[None]:
    yield
    while KEPT:
        KEPT.pop().close()


def joined(consumer: Consumer) -> None:
    deadline = time.monotonic() + 30
    while not consumer.assignment():
        consumer.poll(0.1)
        assert time.monotonic() < deadline, "the consumer got no partition"


def committed(place: Place, group: str) -> int:
    reader = Consumer(place.options.for_reader(committed=True, group=group))
    (found,) = reader.committed([Assigned(place.named(COMMANDS).name, 0)], timeout=10)
    reader.close()
    return int(found.offset)


# Poison


def test_what_can_not_be_handled_is_put_aside_sealed_and_the_stage_goes_on(
    place: Place, workers: Callable[..., WorkerProcess]
) -> None:
    wire = place.wire(COMMANDS)
    good = outgoing(place, wire, story.says("m-1"))
    crossed = outgoing(place, wire, story.elsewhere(story.says("m-2"), conversation_id="c-2"))
    malformed = outgoing(place, wire, story.elsewhere(story.says("m-3"), command_id="no uuid"))
    event = place.wire(EVENTS).encode(story.given(*story.ASKED).events[0])
    secret = b"my card is 4111 1111 1111 1111 "
    huge = secret * (RECORD_BYTES_MAX // len(secret))
    poison: dict[str, bytes] = {
        "garbage": b"\x01" + secret,
        "an unknown schema id": b"\x00\x7f\xff\xff\xff" + secret,
        "cut off": good["value"][:40],
        "more behind the end": good["value"] + secret,
        "a record of another topic": event,
        "nothing that fits anywhere else": huge[: RECORD_BYTES_MAX - 1000],
        "the key of something else": crossed["value"],
        "ids that no gateway gives": malformed["value"],
    }
    producer = Producer(place.options.for_producer())
    for value in poison.values():
        producer.produce(good["topic"], value, good["key"], headers=[("foreign", secret)])
    producer.produce(good["topic"], None, good["key"])
    producer.produce(**good)
    assert producer.flush(30) == 0

    workers("poisoned")
    log, letters = Follower(place, EVENTS), Follower(place, DEAD_LETTERS)
    until(log, 2, nothing)
    until(letters, len(poison) + 1, nothing)
    assert [type(r) for r in log.records()] == [ConversationStarted, MessageReceived]
    found: list[DeadLetter] = letters.records()
    assert Counter(letter.code for letter in found) == {
        "wire_format": 2,
        "unknown_schema": 1,
        "decoding": 1,
        "trailing_bytes": 1,
        "unknown_record": 1,
        "wrong_key": 1,
        "identifier": 1,
        "no_value": 1,
    }
    check_the_letters(place, letters, [*poison.values(), b""])
    log.close()
    letters.close()


def check_the_letters(place: Place, letters: Follower, originals: list[bytes]) -> None:
    sealer = open_sealer(load_settings(Path(place.folder)).keys)
    opened = []
    for message, letter in zip(letters.messages, letters.records(), strict=True):
        where = f"{letter.topic}/{letter.partition}/{letter.offset}"
        assert message.key() == where.encode()
        opened.append(sealer.open_bytes(letter.content, context=where))
        assert sealer.open_bytes(letter.key, context=where) == b"demo:c-1"
        assert (letter.stage, letter.topic) == ("conversation", place.named(COMMANDS).name)
        for shown in (message.value(), str(message.headers()).encode()):
            assert b"4111" not in shown
        with pytest.raises(SealBroken):
            sealer.open_bytes(letter.content, context=where + "1")
    sealer.close()
    assert sorted(opened) == sorted(originals)


# Timers


def test_deadlines_fire_and_outlive_a_stop_of_the_worker_that_knew_of_them(
    place: Place, workers: Callable[..., WorkerProcess]
) -> None:
    limits = {"analysis_deadline_us": 1_500_000, "turn_deadline_us": 700_000, "on_disk": True}
    first = workers("timer", **limits)
    produce(place, iter([story.says("m-1")]))
    log = Follower(place, EVENTS)
    until(log, 2, nothing)
    began = time.monotonic()
    assert first.end(signal.SIGTERM) == 0, first.log
    assert time.monotonic() - began < 10
    first.start()
    until(log, 4, nothing)
    started, failed = log.records()[2:]
    assert isinstance(started, TurnStarted)
    assert isinstance(failed, TurnFailed)
    assert (started.degraded, started.analysis_seq) == (("analysis_expired",), None)
    assert failed.code == "deadline"
    received: Event = log.records()[1]
    assert isinstance(received, MessageReceived)
    assert started.envelope.occurred_at >= received.analysis_deadline_at
    assert failed.envelope.occurred_at >= started.deadline_at
    # Late by the distance that a worker looks at the clock, not by the next record.
    assert failed.envelope.occurred_at < started.deadline_at + 5_000_000
    produce(place, iter([story.analysed(2), story.answered(2)]))
    until(log, 5, nothing)
    assert isinstance(log.records()[4], MessageAnalysed)
    assert log.records()[4].late
    assert log.read(1.0) == 5
    log.close()
    expiries = [c for c in commands_of(place) if c.envelope.origin == "timer"]
    assert {type(c).__name__ for c in expiries} == {"ExpireAnalysis", "ExpireTurn"}


def commands_of(place: Place) -> list[Any]:
    commands = Follower(place, COMMANDS)
    commands.read(3.0)
    records = commands.records()
    commands.close()
    return records
