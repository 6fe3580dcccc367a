"""What tests of attempts and stages share: a person whose texts are sealed for real, and what
stands in the place of a producer and of a model.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "processors" / "conversation"))

from conversation_story import START_US, TENANT, Later, Story, turn_of
from conversation_story import analysed as _analysed
from conversation_story import says as _says

from infra.keys import Sealer
from infra.providers import Finish, GenerationRequest, Piece, Provider, TextDelta, Usage
from processors.conversation.policy import Policy
from processors.conversation.state import new_conversation
from schemas.avro_types import AvroSchema
from schemas.commands import Command, CompleteTurn, RecordAnalysis, SubmitMessage
from schemas.envelope import Sealed
from schemas.events import Event
from schemas.failures import Unavailable
from schemas.headers import rfc3339
from schemas.identifiers import turn_id
from schemas.records import AnswerPiece, DeadLetter
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS, TOKENS, conversation_key
from schemas.wire import TopicWire
from streams.answering.attempt import Attempt, Desk
from streams.answering.open_messages import Begin, OpenMessage, OpenMessages
from streams.transactions import Outgoing

MONTH = rfc3339(START_US)[:7]


class SchemaIdsInMemory:
    """A registry in memory, which can be away."""

    def __init__(self) -> None:
        self.schemas: list[AvroSchema] = []
        self.away = False
        self.asked = 0

    def id_of(self, subject: str, schema: AvroSchema) -> int:
        if schema not in self.schemas:
            self.schemas.append(schema)
        return self.schemas.index(schema)

    def schema_of(self, schema_id: int) -> AvroSchema | None:
        self.asked += 1
        if self.away:
            raise Unavailable("the registry is away")
        return self.schemas[schema_id] if schema_id < len(self.schemas) else None


IDS = SchemaIdsInMemory()
WIRES = {topic: TopicWire(topic, IDS) for topic in (COMMANDS, EVENTS, TOKENS, DEAD_LETTERS)}


async def eventually(holds: Callable[[], Any]) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        await asyncio.sleep(0.005)


class Sent:
    """In the place of `RecordsOut`: keeps what is handed over, and fails where a test says so.

    `full` refuses so many calls at once; `losses` says of so many records afterwards that the
    broker did not take them; with `holding` nothing is durable before it is let go.
    """

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.full = 0
        self.losses = 0
        self.holding = False
        self.failure: Exception = Unavailable("Kafka takes nothing")
        self._held: list[asyncio.Future[None]] = []

    def send(self, record: Outgoing) -> Awaitable[None]:
        self.post(record)
        delivered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.losses:
            self.losses -= 1
            delivered.set_exception(self.failure)
        elif self.holding:
            self._held.append(delivered)
        else:
            delivered.set_result(None)
        return delivered

    def post(self, record: Outgoing) -> None:
        if self.full:
            self.full -= 1
            raise self.failure
        self.records.append(record)

    def let_go(self) -> None:
        """Makes durable what was held."""
        self.holding = False
        for delivered in self._held:
            if not delivered.done():  # else whoever waited has given up
                delivered.set_result(None)

    @property
    def commands(self) -> list[Command]:
        return self._on(COMMANDS.name)

    @property
    def answer(self) -> CompleteTurn:
        """The only command there is."""
        (command,) = self.commands
        assert isinstance(command, CompleteTurn)
        return command

    @property
    def pieces(self) -> list[AnswerPiece]:
        return self._on(TOKENS.name)

    @property
    def letters(self) -> list[DeadLetter]:
        return self._on(DEAD_LETTERS.name)

    def _on(self, topic: str) -> list[Any]:
        wires = {wire.topic.name: wire for wire in WIRES.values()}
        return [wires[topic].decode(r.value or b"") for r in self.records if r.topic == topic]


Step = str | Exception | Callable[[], Awaitable[None]]
"""A piece of text, an error to end with, or something to be waited for."""


class ScriptedProvider:
    """A model that says what a test wrote down: one script for each time that it is asked."""

    name = "scripted"

    def __init__(self, *scripts: tuple[Step, ...]) -> None:
        self.scripts = list(scripts)
        self.requests: list[GenerationRequest] = []
        self.left = 0
        """So many of its streams have ended, in whatever way."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        try:
            for step in self.scripts.pop(0):
                if isinstance(step, str):
                    yield TextDelta(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    await step()
            yield Usage(self.name, "scripted-1", 12, 34)
            yield Finish()
        finally:
            self.left += 1

    async def close(self) -> None:
        """Nothing is held."""


async def for_ever() -> None:
    """A step of a script that only cancellation ends."""
    await asyncio.Event().wait()


MakeDesk = Callable[[Provider], Desk]
"""Makes the desk of attempts at which a given provider writes."""


async def attempt(
    desk: Desk,
    message: OpenMessage,
    *,
    fallback: bool = False,
    on_interrupted: Callable[[], None] = lambda: None,
) -> None:
    """Makes the attempt that is due at a message."""
    await Attempt(desk, message, fallback=fallback, on_interrupted=on_interrupted).run()


class Person:
    """Somebody with keys of their own, and the conversation that they have."""

    def __init__(self, sealer: Sealer, conversation: str = "c-1", sub: str = "alice") -> None:
        self.conversation = conversation
        self.subject = sealer.identify(TENANT, sub, MONTH).subject
        self.story = Story(Policy(), state=new_conversation(TENANT, conversation))
        self.sealer = sealer

    @property
    def key(self) -> bytes:
        return conversation_key(TENANT, self.conversation)

    def says(self, words: str, mid: str = "m-1") -> SubmitMessage:
        command = _says(mid, words, actor=self.subject)
        return replace(command, text=self.seal(words, command.envelope.command_id, "text"))

    def analysed(self, message_seq: int, words: str, mid: str = "m-1") -> RecordAnalysis:
        """`words` are the redacted ones."""
        command = _analysed(message_seq, mid)
        return replace(command, redacted=self.seal(words, command.envelope.command_id, "redacted"))

    def seal(self, words: str, origin_id: str, field: str, month: str = MONTH) -> Sealed:
        return self.sealer.seal(
            words,
            tenant_id=TENANT,
            conversation_id=self.conversation,
            subject=self.subject,
            origin_id=origin_id,
            field=field,
            month=month,
        )

    def open(self, sealed: Sealed, piece: AnswerPiece | None = None) -> str:
        place = None if piece is None else (piece.turn_id, piece.attempt, piece.start)
        return self.sealer.open(
            sealed, tenant_id=TENANT, conversation_id=self.conversation, piece=place
        )

    def lives(self, *steps: Command | Later) -> list[Event]:
        """The events that these steps add to the conversation."""
        known = len(self.story.events)
        self.story.when(*map(self._here, steps))
        return self.story.events[known:]

    def turn(self, message_seq: int = 2) -> str:
        """The id of the turn that answers a message."""
        return turn_id(TENANT, self.conversation, message_seq)

    def asks(self, words: str) -> OpenMessage:
        """A message whose turn has begun, as the answering stage holds it."""
        self.lives(self.says(words), self.analysed(2, words))
        return self.waiting()

    def waiting(self) -> OpenMessage:
        """The message whose turn began last."""
        fold = OpenMessages()
        steps = [fold.take(event, offset) for offset, event in enumerate(self.story.events)]
        return [step.message for step in steps if isinstance(step, Begin)][-1]

    def _here(self, step: Any) -> Any:
        """A story's command, which tells of `c-1`, in this conversation."""
        if isinstance(step, Later):
            return step
        changes = {"envelope": replace(step.envelope, conversation_id=self.conversation)}
        if hasattr(step, "turn_id"):
            turns = {turn_of(seq): self.turn(seq) for seq in range(20)}
            changes["turn_id"] = turns.get(step.turn_id, step.turn_id)
        return replace(step, **changes)
