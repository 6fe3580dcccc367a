"""One attempt at a turn: opens the texts, has the answer written, streams and reports it."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.keys.errors import KeyErased
from infra.keys.sealing import Sealer
from infra.telemetry import names
from infra.telemetry.metrics import Metrics
from infra.telemetry.tracing import TRACING_OFF, Attributes, Tracing
from processors.analysis.redaction import redact
from processors.answering.context import TurnContext
from schemas.commands import Command, CompleteTurn, FailTurn, RestartTurn
from schemas.envelope import CommandEnvelope, Sealed
from schemas.events import TurnStarted
from schemas.failures import Failure, Invalid, Unavailable
from schemas.headers import command_headers, rfc3339
from schemas.identifiers import internal_command_id
from schemas.parts import Citation
from schemas.records import AnswerPiece
from schemas.topics import COMMANDS, TOKENS, key_of
from schemas.wire import TopicWire
from streams.answering.history import History
from streams.answering.open_messages import OpenMessage
from streams.answering.turns import Answer, Answerer, Interrupted, Question
from streams.backoff import Backoff
from streams.batch import StageLost
from streams.records_out import RecordsOut
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

ORIGIN = "answering"
SOURCE = b"/parley/answering"
MERGE_S = 0.02
"""Text is collected for so long: each piece is a record, and the screen is not faster."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that an attempt works with."""

    commands: TopicWire
    tokens: TopicWire
    sealer: Sealer
    history: History
    answerer: Answerer
    out: RecordsOut
    metrics: Metrics
    tracing: Tracing = TRACING_OFF


class Attempt:
    """Attempt number `attempt` at the turn of a message. `run` once."""

    def __init__(
        self,
        desk: Desk,
        message: OpenMessage,
        *,
        fallback: bool,
        on_interrupted: Callable[[], None],
    ) -> None:
        assert message.turn is not None
        self._on_interrupted = on_interrupted
        self._desk = desk
        self._message = message
        self._turn: TurnStarted = message.turn
        self._attempt = message.attempt
        self._fallback = fallback
        self._at = 0
        self._unsent = ""
        self._flush: asyncio.TimerHandle | None = None
        self._began = time.monotonic()
        self._first_token_us = 0
        self._first_token_at_us: int | None = None
        place = self._turn.envelope
        self._key = key_of(self._turn)
        self._month = rfc3339(place.occurred_at)[:7]
        self._traceparent = place.traceparent
        self._command_id = self._id("complete")

    async def run(self) -> None:
        """Answers and reports, or asks for a new attempt where the provider was lost on the way.

        Every way out but cancellation leaves a durable command, so the turn goes on somewhere.
        """
        turn = self._turn
        attributes: Attributes = {
            names.STAGE: ORIGIN,
            names.TURN: turn.turn_id,
            names.ATTEMPT: self._attempt,
            names.TENANT: turn.envelope.tenant_id,
            names.CONVERSATION: turn.envelope.conversation_id,
        }
        tracing = self._desk.tracing
        with tracing.span("answering turn", self._traceparent, attributes, "consumer") as span:
            self._traceparent = span.traceparent
            try:
                await self._run()
            finally:
                if self._flush is not None:
                    self._flush.cancel()

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                question, degraded, turns = await self._question()
                answer = await self._desk.answerer.answer(question, self._say)
                self._send_rest()
                await report(self._desk, self._completed(answer, degraded, turns))
                self._observe(answer, degraded)
                return
            except Interrupted as error:
                log.warning("attempt %d of a turn was interrupted: %s", self._attempt, error)
                # Before the report: the new attempt may begin before this one has returned.
                self._on_interrupted()
                await self._begin_anew()
                return
            except KeyErased:
                await report(self._desk, self._failed("erased", "the person was erased"))
                return
            except Invalid as error:
                log.error("a turn is given up: %s", error)
                await report(self._desk, self._failed(error.code, "no answer could be made"))
                return
            except StageLost:
                raise
            except Unavailable as error:
                if self._at:
                    # What was said can't be taken back in this attempt.
                    log.warning("attempt %d of a turn broke off: %s", self._attempt, error)
                    await self._begin_anew()
                    return
                # Until the turn's deadline, which the conversation keeps.
                wait_s = backoff.next_s()
                log.warning("a turn waits %.1f s: %s", wait_s, error)
                await asyncio.sleep(wait_s)
            except Exception as error:
                # A defect in one turn must not stop the others; its words may quote the text.
                place = traceback.extract_tb(error.__traceback__)[-1]
                log.error(
                    "a turn failed: %s at %s:%s", type(error).__name__, place.filename, place.lineno
                )
                await report(self._desk, self._failed("internal", "something went wrong here"))
                return

    async def _begin_anew(self) -> None:
        await report(self._desk, restart(self._turn, self._attempt + 1, self._traceparent))

    async def _question(self) -> tuple[Question, tuple[str, ...], int]:
        turn, place = self._turn, self._turn.envelope
        degraded = list(turn.degraded)
        # So that no piece has to wait for the key store in the middle of the answer.
        await self._desk.sealer.prefetch_key(place.tenant_id, turn.subject, self._month)
        if self._message.redacted is not None:
            text = await self._opened(self._message.redacted)
        else:
            # Analysis did not come in time: patterns and checksums alone protect the text.
            text = redact(await self._opened(self._message.received.text)).text
        earlier, whole = await self._desk.history.earlier(
            place.tenant_id, place.conversation_id, turn.context
        )
        if not whole:
            degraded.append("short_context")
        question = Question(
            tenant_id=place.tenant_id,
            context=TurnContext(text, earlier),
            prompt_version=turn.prompt_version,
            fallback=self._fallback,
        )
        return question, tuple(degraded), len(earlier)

    async def _opened(self, sealed: Sealed) -> str:
        place, sealer = self._turn.envelope, self._desk.sealer
        await sealer.prefetch_open(sealed, tenant_id=place.tenant_id)
        return sealer.open(sealed, tenant_id=place.tenant_id, conversation_id=place.conversation_id)

    async def _say(self, text: str) -> None:
        """Takes the next stretch of the answer: the first goes out at once, the next are merged."""
        if self._at == 0:
            self._first_token_us = self._elapsed_us()
            self._first_token_at_us = time.time_ns() // 1000
            self._send(text)
            return
        self._unsent += text
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(MERGE_S, self._send_in_time)

    def _send_in_time(self) -> None:
        try:
            self._send_rest()
        except (Failure, StageLost) as error:
            # It goes with the next one, and an error that stays ends the attempt there.
            log.warning("a piece of an answer waits: %s", error)

    def _send_rest(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._unsent:
            self._send(self._unsent)
            self._unsent = ""

    def _send(self, text: str) -> None:
        """Sends a piece on its way; that it names its stretch makes repetition harmless."""
        turn, start = self._turn, self._at
        piece = AnswerPiece(
            tenant_id=turn.envelope.tenant_id,
            conversation_id=turn.envelope.conversation_id,
            turn_id=turn.turn_id,
            attempt=self._attempt,
            start=start,
            end=start + len(text),
            text=self._sealed(text, "piece", (turn.turn_id, self._attempt, start)),
            produced_at=time.time_ns() // 1000,
            traceparent=self._traceparent,
        )
        # `CompleteTurn` holds the whole answer, so a piece that is lost is missed by nobody.
        self._desk.out.post(Outgoing(TOKENS.name, self._key, self._desk.tokens.encode(piece)))
        self._at = piece.end

    def _sealed(self, text: str, field: str, piece: Any = None) -> Sealed:
        place = self._turn.envelope
        return self._desk.sealer.seal(
            text,
            tenant_id=place.tenant_id,
            conversation_id=place.conversation_id,
            subject=self._turn.subject,
            origin_id=self._command_id,
            field=field,
            month=self._month,
            piece=piece,
        )

    def _completed(self, answer: Answer, degraded: tuple[str, ...], turns: int) -> CompleteTurn:
        return CompleteTurn(
            self._envelope(self._command_id),
            turn_id=self._turn.turn_id,
            attempt=self._attempt,
            text=self._sealed(answer.text, "answer"),
            citations=tuple(
                Citation(
                    s.marker,
                    s.document_id,
                    s.passage,
                    s.score,
                    self._sealed(s.title, f"title.{s.marker}"),
                )
                for s in answer.sources
            ),
            usage=answer.usage,
            declined=answer.declined,
            confidence=answer.confidence,
            history_turns=turns,
            first_token_us=self._first_token_us,
            duration_us=self._elapsed_us(),
            degraded=(*degraded, *answer.degraded),
        )

    def _failed(self, code: str, message: str) -> FailTurn:
        envelope = self._envelope(self._id("fail"))
        return FailTurn(envelope, self._turn.turn_id, self._attempt, code, message)

    def _id(self, step: str) -> str:
        place = self._turn.envelope
        return internal_command_id(
            place.tenant_id,
            place.conversation_id,
            ORIGIN,
            self._turn.turn_id,
            step,
            self._attempt,
        )

    def _envelope(self, command_id: str) -> CommandEnvelope:
        return _envelope(self._turn, command_id, self._traceparent)

    def _elapsed_us(self) -> int:
        return int((time.monotonic() - self._began) * 1e6)

    def _observe(self, answer: Answer, degraded: tuple[str, ...]) -> None:
        metrics, usage = self._desk.metrics, answer.usage
        tenant = metrics.tenant(self._turn.envelope.tenant_id)
        if self._first_token_at_us is not None:
            # The clocks of two machines can differ by more than an answer takes.
            waited_us = max(0, self._first_token_at_us - self._turn.envelope.occurred_at)
            metrics.first_token_seconds.labels(tenant, usage.model).observe(waited_us / 1e6)
        metrics.cost_usd.labels(tenant, usage.model, ORIGIN).inc(usage.cost_nano_usd / 1e9)
        metrics.tokens.labels(tenant, usage.model, ORIGIN, "in").inc(usage.input_tokens)
        metrics.tokens.labels(tenant, usage.model, ORIGIN, "out").inc(usage.output_tokens)
        for step in (*degraded, *answer.degraded):
            metrics.degraded.labels(tenant, step).inc()


async def report(desk: Desk, command: Command) -> None:
    """Makes a command durable, however long that takes. Raises `StageLost`."""
    backoff = Backoff()
    while True:
        try:
            await desk.out.send(_encoded(desk.commands, command))
            return
        except Unavailable as error:
            log.warning("what becomes of a turn waits: %s", error)
            await asyncio.sleep(backoff.next_s())


def restart(turn: TurnStarted, attempt: int, traceparent: str | None) -> RestartTurn:
    """Asks for a new attempt at a turn."""
    place = turn.envelope
    command_id = internal_command_id(
        place.tenant_id, place.conversation_id, ORIGIN, turn.turn_id, "restart", attempt
    )
    return RestartTurn(_envelope(turn, command_id, traceparent), turn.turn_id, attempt)


def _encoded(wire: TopicWire, command: Command) -> Outgoing:
    """A command on its way to the conversation stage."""
    return Outgoing(
        COMMANDS.name,
        key_of(command),
        wire.encode(command),
        command_headers(type(command), command.envelope, SOURCE),
    )


def _envelope(turn: TurnStarted, command_id: str, traceparent: str | None) -> CommandEnvelope:
    place = turn.envelope
    return CommandEnvelope(
        command_id=command_id,
        tenant_id=place.tenant_id,
        conversation_id=place.conversation_id,
        issued_at=time.time_ns() // 1000,
        origin=ORIGIN,
        causation_id=place.event_id,
        correlation_id=place.correlation_id,
        traceparent=traceparent,
        actor=ORIGIN,
        body_hmac=None,
    )
