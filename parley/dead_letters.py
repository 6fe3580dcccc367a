"""Records that were put aside: read, opened, and sent round once more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException

from infra.keys.errors import SealBroken
from parley.sending import Sending
from parley.wiring import Wiring
from schemas.failures import Invalid, Unavailable
from schemas.headers import REPLAYED
from schemas.records import DeadLetter
from schemas.topics import COMMANDS, DEAD_LETTERS, TOPICS
from streams.batch import StageLost
from streams.dead_letters import CONTENT_BYTES_MAX, sealed_for
from streams.restore import read_to_end

_TOPICS = {topic.name: topic for topic in TOPICS}


class NotReplayable(Exception):
    """A letter that must not, or can't, go round again; the words say why and what to do."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A letter with its number, which is its offset: the topic has one partition."""

    number: int
    letter: DeadLetter

    @property
    def place(self) -> str:
        """Where the record stood."""
        return sealed_for(self.letter.topic, self.letter.partition, self.letter.offset)


@dataclass(frozen=True, slots=True)
class Opened:
    """What was put aside. `record` is None where the bytes are no record even now; then `why`."""

    key: bytes
    value: bytes
    record: Any | None
    why: str


@dataclass(slots=True)
class Letters:
    """What was wanted of the topic of dead letters, oldest first."""

    parked: deque[Parked]
    count: int = 0
    """How many were wanted, of which `parked` has the newest."""
    stages: set[str] = field(default_factory=set)
    """Of all letters."""
    foreign: list[int] = field(default_factory=list)
    """Numbers of records that are no letters of ours."""


def read(wiring: Wiring, wanted: Callable[[Parked], bool], most: int | None = None) -> Letters:
    """The newest `most` of those letters that are wanted. Raises `Unavailable`.

    A letter can be as large as a record, so no more of them than these are in memory.
    """
    wire = wiring.wire(DEAD_LETTERS)
    found = Letters(deque(maxlen=most))
    try:
        for _, messages, _ in read_to_end(DEAD_LETTERS.name, {0: 0}, wiring.kafka):
            for message in messages:
                number = message.offset() or 0
                try:
                    parked = Parked(number, wire.decode(message.value() or b""))
                except Invalid:
                    found.foreign.append(number)
                    continue
                found.stages.add(parked.letter.stage)
                if wanted(parked):
                    found.count += 1
                    found.parked.append(parked)
    except (StageLost, KafkaException) as error:
        raise Unavailable(
            f"Kafka stopped answering while dead letters were read: {error}"
        ) from error
    return found


def open_letter(wiring: Wiring, parked: Parked) -> Opened:
    """Opens a letter with the platform's key. Raises `SealBroken`."""
    letter = parked.letter
    key = wiring.sealer.open_bytes(letter.key, context=parked.place)
    value = wiring.sealer.open_bytes(letter.content, context=parked.place)
    topic = _TOPICS.get(letter.topic)
    if topic is None:
        return Opened(key, value, None, f"{letter.topic} is no topic of ours")
    try:
        return Opened(key, value, wiring.wire(topic).decode(value), "")
    except Invalid as error:
        return Opened(key, value, None, str(error))


def replay(wiring: Wiring, letters: Sequence[Parked]) -> None:
    """Sends records round through the topic that they came from, and waits until they are there.

    A command that was handled meanwhile has no second effect, so replaying twice is harmless: a
    stage's command for ever, a person's until the conversation has handled 128 others.
    Raises `NotReplayable` before anything is sent, and `Unavailable`.
    """
    records = [(parked, _replayable(wiring, parked)) for parked in letters]
    out = Sending(wiring.kafka)
    for parked, opened in records:
        kept = {**parked.letter.headers, REPLAYED: str(parked.number)}
        headers = [(name, text.encode()) for name, text in kept.items()]
        out.send(parked.letter.topic, opened.key, opened.value, headers)
    out.finish()


def _replayable(wiring: Wiring, parked: Parked) -> Opened:
    letter, number = parked.letter, parked.number
    if letter.topic != COMMANDS.name:
        raise NotReplayable(
            f"letter {number} is of {letter.topic}: only commands go round again, since whatever "
            "else is sent twice is there twice; mend the reader and rebuild what it writes"
        )
    try:
        opened = open_letter(wiring, parked)
    except SealBroken as error:
        raise NotReplayable(f"letter {number} can't be opened: {error}") from None
    if len(opened.value) >= CONTENT_BYTES_MAX:
        raise NotReplayable(f"letter {number} holds only the front of a record that was too large")
    return opened
