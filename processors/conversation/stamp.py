"""Writes the envelopes of the events that one command leads to."""

from __future__ import annotations

from processors.conversation.state import Conversation
from schemas.envelope import CommandEnvelope, Envelope
from schemas.identifiers import event_id
from schemas.makers import maker
from schemas.records import OpenTurn, WaitingMessage

_envelope = maker(Envelope)


class Stamp:
    """Numbers the events of one decision: the next `seq`, ids by ordinal, one time for all."""

    __slots__ = ("_command", "_first_seq", "_ordinal", "now_us")

    def __init__(self, state: Conversation, command: CommandEnvelope, now_us: int) -> None:
        self._command = command
        self._first_seq = state.seq + 1
        self.now_us = now_us
        self._ordinal = 0

    def envelope(self, about: WaitingMessage | OpenTurn | None = None) -> Envelope:
        """The next envelope. An event `about` an earlier message belongs to that one's trace."""
        command, ordinal = self._command, self._ordinal
        self._ordinal = ordinal + 1
        origin = command if about is None else about
        return _envelope(
            event_id(command.command_id, command.body_hmac, ordinal),
            command.tenant_id,
            command.conversation_id,
            self._first_seq + ordinal,
            self.now_us,
            command.command_id,
            command.causation_id,
            origin.correlation_id,
            origin.traceparent,
            command.actor,
            command.body_hmac,
        )
