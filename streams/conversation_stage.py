"""The conversation stage's work: folds commands into events and snapshots, and keeps the timers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from infra.telemetry.tracing import TRACING_OFF, Tracing
from processors.conversation.decide import decide
from processors.conversation.policy import Policy
from processors.conversation.state import Conversation, new_conversation, upcast
from processors.conversation.timers import expiries, next_deadline_us
from schemas.commands import Command
from schemas.events import CommandRejected, Event
from schemas.failures import Invalid
from schemas.headers import command_headers, event_headers
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS
from schemas.wire import TopicWire
from sinks.port import Delivery, TopicPartition
from streams.deadlines import Deadlines
from streams.state import Change, PartitionState, StateFormat
from streams.tracing import traced
from streams.transactional_stage import PORTION, Output

NAME = "conversation"
SOURCE = b"/parley/conversation"
RETRY_US = 1_000_000
"""An expiry whose transaction failed is issued again after that."""
REPEAT_US = 60_000_000
"""One that is in the log will come round, so it is issued again only in case of a defect. Behind a
backlog that takes long: repeating them at a short distance would make it grow."""
ISSUED_MAX = 1_000
"""Expiries of a partition that go out with one batch."""

OpenStates = Callable[[Sequence[int]], Mapping[int, PartitionState[Conversation]]]
PolicyOf = Callable[[str], Policy]
OnRefused = Callable[[str, str], None]
"""Gets the tenant and the code of a refusal."""


@dataclass(slots=True)
class _Partition:
    state: PartitionState[Conversation]
    deadlines: Deadlines


@dataclass(slots=True)
class _Changes:
    """What becomes of a partition's state once its transaction is committed."""

    changes: list[Change] = field(default_factory=list)
    next_offset: int | None = None
    refused: list[CommandRejected] = field(default_factory=list)
    issued: dict[bytes, int] = field(default_factory=dict)
    """Keys whose expiries went out, and when these are issued again."""

    def delivered(self, error: object, message: Any) -> None:
        if error is None:
            self.next_offset = message.offset() + 1


class ConversationTransform:
    """Decides commands against the folded conversations of the owned partitions.

    `open_states` restores the states of partitions from the changelog; `policy_of` gives the
    policy of a tenant; `on_refused` hears of every refusal that is in the log.
    """

    def __init__(
        self,
        events: TopicWire,
        snapshots: TopicWire,
        commands: TopicWire,
        open_states: OpenStates,
        policy_of: PolicyOf,
        tracing: Tracing = TRACING_OFF,
        on_refused: OnRefused = lambda tenant_id, code: None,
    ) -> None:
        self._events = events
        self._snapshots = snapshots
        self._commands = commands
        self._open_states = open_states
        self._policy_of = policy_of
        self._tracing = tracing
        self._on_refused = on_refused
        self._partitions: dict[TopicPartition, _Partition] = {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        states = self._open_states([p.partition for p in partitions])
        for partition in partitions:
            state = states[partition.partition]
            self._partitions[partition] = _Partition(state, Deadlines(state.deadlines()))

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            held = self._partitions.pop(partition, None)
            if held is not None:
                held.state.close()

    def wake_at_us(self) -> int | None:
        earliest = [
            at for p in self._partitions.values() if (at := p.deadlines.earliest_us()) is not None
        ]
        return min(earliest, default=None)

    def apply(
        self, records: Mapping[TopicPartition, Iterable[Delivery]], now_us: int, out: Output
    ) -> dict[TopicPartition, _Changes]:
        changes = {
            partition: self._fold(self._partitions[partition], batch, now_us, out)
            for partition, batch in records.items()
        }
        for partition, held in self._partitions.items():
            due = held.deadlines.due(now_us)
            if due:
                noted = changes.setdefault(partition, _Changes())
                self._issue(held, due[:ISSUED_MAX], noted, now_us, out)
        return changes

    def committed(self, changes: Mapping[TopicPartition, _Changes]) -> None:
        for partition, changed in changes.items():
            held = self._partitions[partition]
            if changed.changes:
                held.state.apply(changed.changes, changed.next_offset)
            for key, again_us in changed.issued.items():
                held.deadlines.set(key, again_us)
            for change in changed.changes:
                held.deadlines.set(change.key, next_deadline_us(change.state))
            for refusal in changed.refused:
                self._on_refused(refusal.envelope.tenant_id, refusal.code)

    def _fold(
        self, held: _Partition, batch: Iterable[Delivery], now_us: int, out: Output
    ) -> _Changes:
        dirty: dict[bytes, Conversation] = {}
        refused: list[CommandRejected] = []
        deliveries = iter(batch)
        while portion := list(islice(deliveries, PORTION)):
            for key, event, value in self._decided(held, portion, dirty, now_us, out):
                headers = event_headers(type(event), event.envelope, SOURCE)
                out.send(EVENTS.name, key, value, headers)
                if isinstance(event, CommandRejected):
                    refused.append(event)
        noted = self._snapshots_of(dirty, out)
        noted.refused = refused
        return noted

    def _decided(
        self,
        held: _Partition,
        portion: Sequence[Delivery],
        dirty: dict[bytes, Conversation],
        now_us: int,
        out: Output,
    ) -> list[tuple[bytes, Event, bytes]]:
        """The events that the commands lead to, with key and value. Brings `dirty` forward."""
        encode, known = self._events.encode, held.state.get
        decided: list[tuple[bytes, Event, bytes]] = []
        for delivery in portion:
            command: Command = delivery.record
            key, place = delivery.key, command.envelope
            state = dirty.get(key) or known(key)
            if state is None:
                state = new_conversation(place.tenant_id, place.conversation_id)
            if self._tracing.enabled:
                command = traced(command, NAME, self._tracing, out.spans)
            try:
                events, state = decide(state, command, now_us, self._policy_of(place.tenant_id))
                encoded = [(key, event, encode(event)) for event in events]
            except Invalid as error:
                out.poison(delivery, error)
                continue
            if events:
                decided += encoded
                dirty[key] = state
        return decided

    def _snapshots_of(self, dirty: Mapping[bytes, Conversation], out: Output) -> _Changes:
        noted = _Changes()
        for key, state in dirty.items():
            encoded = self._snapshots.encode(state)
            noted.changes.append(Change(key, state, encoded))
            # The last one to be delivered says how far the changelog goes.
            last = noted.delivered if len(noted.changes) == len(dirty) else None
            out.send(CONVERSATIONS.name, key, encoded, None, last)
        return noted

    def _issue(
        self,
        held: _Partition,
        due: Sequence[bytes],
        noted: _Changes,
        now_us: int,
        out: Output,
    ) -> None:
        """Sends expiries round through the commands topic, like anybody else's commands."""
        changing = {change.key for change in noted.changes}
        for key in due:
            held.deadlines.set(key, now_us + RETRY_US)
            state = None if key in changing else held.state.get(key)
            if state is None:
                continue
            for command in expiries(state, now_us):
                headers = command_headers(type(command), command.envelope, SOURCE)
                out.send(COMMANDS.name, key, self._commands.encode(command), headers)
            noted.issued[key] = now_us + REPEAT_US


def conversation_format(snapshots: TopicWire) -> StateFormat[Conversation]:
    """How conversations are kept: as the snapshots of the changelog."""
    return StateFormat(
        snapshots.encode, lambda value: upcast(snapshots.decode(value)), next_deadline_us
    )
