"""The conversation stage on topics of its own, for tests: places, workers, commands and the log."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka import TopicPartition as Assigned

sys.path.append(str(Path(__file__).parents[1] / "unit" / "processors" / "conversation"))

import conversation_story as story

from infra.kafka_admin import apply_topics
from infra.local.processes import spawn
from infra.schema_registry import SchemaRegistry
from schemas.avro_types import AvroSchema
from schemas.commands import Command
from schemas.headers import command_headers
from schemas.topics import COMMANDS, CONVERSATIONS, DEAD_LETTERS, EVENTS, Topic, key_of
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

USED = (COMMANDS, EVENTS, CONVERSATIONS, DEAD_LETTERS)
FOR_EVER_US = 10**15


@dataclass(frozen=True)
class Place:
    """Where a stage runs. The prefix keeps its topics apart from everybody else's."""

    kafka: str
    registry: str
    ids_file: str
    """Keeps the ids of schemas, so that not every worker asks for all of them."""
    folder: str
    """Holds the keys, the stores on disk and what workers log."""
    prefix: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex[:8]}.")

    def named(self, topic: Topic) -> Topic:
        return replace(topic, name=self.prefix + topic.name)

    @property
    def options(self) -> KafkaOptions:
        return KafkaOptions(self.kafka)

    def create(self) -> Place:
        apply_topics(self.kafka, {}, [self.named(topic) for topic in USED])
        return self

    def wire(self, topic: Topic) -> TopicWire:
        """The wire format of a topic here, under the schemas' real subjects."""
        registry = SchemaRegistry(self.registry, cache_file=Path(self.ids_file))
        wire = TopicWire(self.named(topic), _RealSubjects(registry, self.prefix))
        wire.prepare()
        return wire


@dataclass
class _RealSubjects:
    """Schema ids as the topics without a prefix have them."""

    registry: SchemaRegistry
    prefix: str

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        return self.registry.id_of(subject.removeprefix(self.prefix), schema)

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        return self.registry.schema_of(schema_id)


@dataclass
class WorkerProcess:
    """A worker of the conversation stage in a process of its own, which can be ill-treated."""

    place: Place
    name: str
    options: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return Path(self.place.folder, f"{self.name}.log")

    def start(self) -> WorkerProcess:
        argument = json.dumps({"place": asdict(self.place), "name": self.name, **self.options})
        script, root = Path(__file__).with_name("engine_worker.py"), Path(__file__).parents[2]
        with self.log_path.open("ab") as log:
            self.process = spawn(
                (sys.executable, str(script), argument),
                env={"PYTHONPATH": str(root)},
                cwd=Path(self.place.folder),
                output=log,
            )
        return self

    def send(self, signal_number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(signal_number)

    def end(self, signal_number: signal.Signals) -> int:
        self.send(signal_number)
        assert self.process is not None
        return self.process.wait(30)

    def supervise(self) -> None:
        """Starts it again if it ended, as `parley up` does."""
        if self.process is not None and self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-4000:]


def whole_conversation(messages: int) -> list[Command]:
    """The commands that lead to every message's answer, as the stages would send them."""
    commands: list[Command] = []
    for number in range(messages):
        message_seq = 2 + 4 * number
        commands += [
            story.says(f"m-{number}", f"message {number}"),
            story.analysed(message_seq, f"m-{number}"),
            story.answered(message_seq, words=f"answer {number}"),
        ]
    return commands


def moved(command: Any, conversation: str) -> Any:
    """A story's command in another conversation. Ids of turns and commands move along."""
    envelope = command.envelope
    changes: dict[str, Any] = {
        "envelope": replace(
            envelope,
            conversation_id=conversation,
            command_id=str(uuid.uuid5(uuid.NAMESPACE_OID, conversation + envelope.command_id)),
        )
    }
    if hasattr(command, "turn_id"):
        seq = next(n for n in range(2, 1000) if story.turn_of(n) == command.turn_id)
        changes["turn_id"] = story.derived_turn_id(story.TENANT, conversation, seq)
    return replace(command, **changes)


def with_repetitions(
    conversations: Mapping[str, Sequence[Command]], share: float, chance: random.Random
) -> Iterator[Command]:
    """All commands, those of a conversation in order, and a share of them a second time later."""
    queues = {name: list(commands) for name, commands in conversations.items()}
    sent: list[Command] = []
    names = list(queues)
    while names:
        name = chance.choice(names)
        command = queues[name].pop(0)
        if not queues[name]:
            names.remove(name)
        yield command
        sent.append(command)
        if chance.random() < share:
            yield chance.choice(sent)


def outgoing(place: Place, wire: TopicWire, command: Command) -> dict[str, Any]:
    """The arguments of `produce`."""
    return {
        "topic": place.named(COMMANDS).name,
        "value": wire.encode(command),
        "key": key_of(command),
        "headers": command_headers(type(command), command.envelope, b"/test"),
    }


def produce(place: Place, commands: Iterator[Command]) -> int:
    """Sends the commands, in order, and says how many there were."""
    wire, producer = place.wire(COMMANDS), Producer(place.options.for_producer())
    count = 0
    for command in commands:
        producer.produce(**outgoing(place, wire, command))
        producer.poll(0)
        count += 1
    assert producer.flush(30) == 0
    return count


class Follower:
    """Reads the committed records of one topic from its beginning, as far as they go."""

    def __init__(self, place: Place, topic: Topic, *, committed: bool = True) -> None:
        options = place.options.for_reader(committed=committed, group=f"{place.prefix}follower")
        self._consumer = Consumer(options)
        name = place.named(topic).name
        self._consumer.assign([Assigned(name, p, 0) for p in range(topic.partitions)])
        self._wire = place.wire(topic)
        self.messages: list[Message] = []

    def read(self, timeout_s: float = 0.2) -> int:
        """Reads what has come meanwhile; says how much there is altogether."""
        for message in self._consumer.consume(10_000, timeout_s):
            error = message.error()
            if error is None:
                self.messages.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
        return len(self.messages)

    def records(self) -> list[Any]:
        return [self._wire.decode(m.value()) for m in self.messages]

    def by_key(self) -> dict[bytes, list[Any]]:
        """Records by key, in the order of the log."""
        found: dict[bytes, list[Any]] = defaultdict(list)
        for message, record in zip(self.messages, self.records(), strict=True):
            found[message.key()].append(record)
        return dict(found)

    def close(self) -> None:
        self._consumer.close()
