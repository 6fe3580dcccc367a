"""From a client's frame to a sealed command in the log, and `ok` once it is durable there.

Whether a command takes effect is decided by the conversation stage alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

import orjson

from gateway.frames import Cancel, Close, CommandFrame, Feedback, Send
from gateway.producer import CommandProducer
from gateway.refusals import ErrorCode, Refused, temporary
from infra.keys import Identity, KeyErased, Sealer, body_hmac
from infra.telemetry.names import COMMAND, CONVERSATION, MESSAGE, RECORD, TENANT
from infra.telemetry.tracing import TRACING_OFF, Tracing
from processors.conversation.admission import ClientCommand
from schemas.commands import CancelTurn, CloseConversation, SubmitFeedback, SubmitMessage
from schemas.envelope import CommandEnvelope, Sealed
from schemas.failures import Unavailable
from schemas.headers import command_headers, rfc3339
from schemas.identifiers import client_command_id
from schemas.topics import COMMANDS, conversation_key
from schemas.wire import TopicWire

ORIGIN = "client"
SOURCE = b"/parley/gateway"
RECORDS: dict[type[CommandFrame], type[ClientCommand]] = {
    Send: SubmitMessage,
    Feedback: SubmitFeedback,
    Cancel: CancelTurn,
    Close: CloseConversation,
}
"""A unit test says so when a frame is missing here: `mypy` can't."""
RECENT_MAX = 50_000

Answer = Callable[[Refused | None, bool], None]
"""Called on the event loop: None when durable, and whether that was so before already."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who commands come from. `sub` is needed for keys only and stays in this process."""

    tenant_id: str
    sub: str
    identity: Identity


class Recent:
    """Command ids that were acknowledged here lately, for the `dup` hint."""

    def __init__(self, size: int = RECENT_MAX) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._ids

    def add(self, command_id: str) -> None:
        """Remembers an id and forgets the oldest beyond the size."""
        self._ids[command_id] = None
        self._ids.move_to_end(command_id)
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)


class CommandDesk:
    """Turns frames into commands and hands them to the producer."""

    def __init__(
        self,
        *,
        sealer: Sealer,
        producer: CommandProducer,
        wire: TopicWire,
        text_bytes: int = 32_768,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self._sealer = sealer
        self._producer = producer
        self._wire = wire
        self._text_bytes = text_bytes
        self._tracing = tracing
        self._recent = Recent()

    async def submit(self, author: Author, frame: CommandFrame, answer: Answer) -> None:
        """Queues the command of a frame; `answer` follows once Kafka has spoken.

        Frames of one caller keep their order as long as the calls do. Raises `Refused`.
        """
        self._check_size(frame)
        record = RECORDS[type(frame)]
        command_id = client_command_id(
            author.tenant_id, frame.c, author.identity.subject, frame.mid, record.__name__
        )
        names = {TENANT: author.tenant_id, CONVERSATION: frame.c, MESSAGE: frame.mid,
                 COMMAND: command_id, RECORD: record.__name__}  # fmt: skip
        span = self._tracing.span(f"gateway {frame.kind}", None, names, "producer")
        envelope = self._envelope(author, frame, command_id, span.traceparent)
        month = rfc3339(envelope.issued_at)[:7]
        await self._have_key(author, month)
        try:
            command = self._command(frame, envelope, month)
            value = self._wire.encode(command)
        except (Unavailable, KeyErased) as error:
            raise _no_key(error) from None
        known = command_id in self._recent

        def done(refused: Refused | None) -> None:
            with span:
                if refused is None:
                    self._recent.add(command_id)
                else:
                    span.fail(str(refused.code))
            answer(refused, known)

        self._producer.produce(
            COMMANDS.name,
            conversation_key(author.tenant_id, frame.c),
            value,
            command_headers(record, envelope, SOURCE),
            done,
        )

    def _check_size(self, frame: CommandFrame) -> None:
        text = _written_text(frame)
        if text is not None and len(text.encode()) > self._text_bytes:
            message = f"the text is larger than {self._text_bytes} bytes"
            raise Refused(ErrorCode.INVALID, message)

    def _envelope(
        self, author: Author, frame: CommandFrame, command_id: str, traceparent: str | None
    ) -> CommandEnvelope:
        return CommandEnvelope(
            command_id=command_id,
            tenant_id=author.tenant_id,
            conversation_id=frame.c,
            issued_at=time.time_ns() // 1000,
            origin=ORIGIN,
            causation_id=None,
            correlation_id=command_id,
            traceparent=traceparent,
            actor=author.identity.subject,
            body_hmac=body_hmac(author.identity.hmac_key, canonical_body(frame)),
        )

    async def _have_key(self, author: Author, month: str) -> None:
        """Asks the key store on a thread, at a person's first message of a month."""
        if self._sealer.is_cached(author.tenant_id, author.identity.subject, month):
            return
        try:
            await self._sealer.prefetch(author.tenant_id, author.sub, month)
        except (Unavailable, KeyErased) as error:
            raise _no_key(error) from None

    def _command(self, frame: CommandFrame, envelope: CommandEnvelope, month: str) -> ClientCommand:
        match frame:
            case Send():
                text = self._seal(frame.body.text, "text", envelope, month)
                return SubmitMessage(envelope, frame.mid, text)
            case Feedback():
                comment = frame.comment and self._seal(frame.comment, "comment", envelope, month)
                return SubmitFeedback(
                    envelope, frame.mid, frame.turn, frame.score, comment=comment or None
                )
            case Cancel():
                return CancelTurn(envelope, frame.mid, frame.turn)
            case Close():
                return CloseConversation(envelope, frame.mid)
            case _:
                assert_never(frame)

    def _seal(self, text: str, field: str, envelope: CommandEnvelope, month: str) -> Sealed:
        return self._sealer.seal(
            text,
            tenant_id=envelope.tenant_id,
            conversation_id=envelope.conversation_id,
            subject=envelope.actor,
            origin_id=envelope.command_id,
            field=field,
            month=month,
        )


def canonical_body(frame: CommandFrame) -> bytes:
    """What must be equal for two frames of one `mid` to be the same: kind and body."""
    match frame:
        case Send():
            body: dict[str, Any] = frame.body.model_dump()
        case Feedback():
            body = {"turn": frame.turn, "score": frame.score, "comment": frame.comment}
        case Cancel():
            body = {"turn": frame.turn}
        case Close():
            body = {}
        case _:
            assert_never(frame)
    return orjson.dumps([frame.kind, body], option=orjson.OPT_SORT_KEYS)


def _written_text(frame: CommandFrame) -> str | None:
    match frame:
        case Send():
            return frame.body.text
        case Feedback():
            return frame.comment
        case Cancel() | Close():
            return None
        case _:
            assert_never(frame)


def _no_key(error: Unavailable | KeyErased) -> Refused:
    if isinstance(error, KeyErased):
        return Refused(ErrorCode.FORBIDDEN, "this person was erased and can't write any more")
    return temporary("the key store is away, and this is a first message: try again", 2000)
