"""The conversation stage's work: folds commands into events and snapshots, and keeps the timers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.telemetry.tracing import TRACING_OFF, Tracing
from processors.conversation.decide import decide
from processors.conversation.policy import Policy
from processors.conversation.state import Conversation, new_conversation
from processors.conversation.timers import expiries, next_deadline_us
from schemas.commands import Command
from schemas.events import Event
from schemas.failures import Invalid
from schemas.headers import command_headers, event_headers
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS, conversation_key
from schemas.wire import TopicWire
from sinks.port import Delivery, TopicPartition
from streams.deadlines import Deadlines
from streams.state import Change, PartitionState, StateFormat
from streams.tracing import traced
from streams.transactional_stage import Work
from streams.transactions import Outgoing

NAME = "conversation"
SOURCE = b"/parley/conversation"
REPEAT_US = 1_000_000
"""An expiry whose command has not come round by then is issued again."""

OpenStates = Callable[[Sequence[int]], Mapping[int, PartitionState[Conversation]]]
PolicyOf = Callable[[str], Policy]


@dataclass(slots=True)
class _Partition:
    state: PartitionState[Conversation]
    deadlines: Deadlines


@dataclass(slots=True)
class _Changes:
    """What becomes of a partition's state once its transaction is committed."""

    changes: list[Change] = field(default_factory=list)
    next_offset: int | None = None

    def delivered(self, error: object, message: Any) -> None:
        if error is None:
            self.next_offset = message.offset() + 1


class ConversationTransform:
    """Decides commands against the folded conversations of the owned partitions.

    `open_states` restores the states of partitions from the changelog; `policy_of` gives the
    policy of a tenant.
    """

    def __init__(
        self,
        events: TopicWire,
        snapshots: TopicWire,
        commands: TopicWire,
        open_states: OpenStates,
        policy_of: PolicyOf,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self._events = events
        self._snapshots = snapshots
        self._commands = commands
        self._open_states = open_states
        self._policy_of = policy_of
        self._tracing = tracing
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
        self, records: Mapping[TopicPartition, Sequence[Delivery]], now_us: int
    ) -> Mapping[TopicPartition, Work]:
        works = {p: self._fold(self._partitions[p], batch, now_us) for p, batch in records.items()}
        for partition, held in self._partitions.items():
            due = held.deadlines.due(now_us)
            if due:
                work = works.setdefault(partition, Work(state=_Changes()))
                self._issue(held, due, work, now_us)
        return works

    def committed(self, partition: TopicPartition, work: Work) -> None:
        changes, held = work.state, self._partitions[partition]
        held.state.apply(changes.changes, changes.next_offset)
        for change in changes.changes:
            held.deadlines.set(change.key, next_deadline_us(change.state))

    def _fold(self, held: _Partition, batch: Sequence[Delivery], now_us: int) -> Work:
        work = Work(state=_Changes())
        dirty: dict[bytes, Conversation] = {}
        for delivery in batch:
            command: Command = delivery.record
            envelope = command.envelope
            key = conversation_key(envelope.tenant_id, envelope.conversation_id)
            state = (
                dirty.get(key)
                or held.state.get(key)
                or new_conversation(envelope.tenant_id, envelope.conversation_id)
            )
            policy = self._policy_of(envelope.tenant_id)
            if self._tracing.enabled:
                command = traced(command, NAME, self._tracing, work.spans)
            try:
                events, state = decide(state, command, now_us, policy)
                work.outputs += self._encoded(key, events)
            except Invalid as error:
                work.poison.append((delivery, error))
                continue
            if events:
                dirty[key] = state
        self._add_snapshots(work, dirty)
        return work

    def _encoded(self, key: bytes, events: Iterable[Event]) -> list[Outgoing]:
        return [
            Outgoing(
                EVENTS.name,
                key,
                self._events.encode(event),
                event_headers(type(event), event.envelope, SOURCE),
            )
            for event in events
        ]

    def _add_snapshots(self, work: Work, dirty: Mapping[bytes, Conversation]) -> None:
        changes: _Changes = work.state
        for key, state in dirty.items():
            encoded = self._snapshots.encode(state)
            changes.changes.append(Change(key, state, encoded))
            work.outputs.append(Outgoing(CONVERSATIONS.name, key, encoded))
        if dirty:
            last = work.outputs[-1]
            work.outputs[-1] = last._replace(on_delivery=changes.delivered)

    def _issue(self, held: _Partition, due: Sequence[bytes], work: Work, now_us: int) -> None:
        """Sends expiries round through the commands topic, like anybody else's commands."""
        changing = {change.key for change in work.state.changes}
        for key in due:
            # Should the command get lost on its way, it is issued again.
            held.deadlines.set(key, now_us + REPEAT_US)
            state = None if key in changing else held.state.get(key)
            if state is None:
                continue
            for command in expiries(state, now_us):
                headers = command_headers(type(command), command.envelope, SOURCE)
                value = self._commands.encode(command)
                work.outputs.append(Outgoing(COMMANDS.name, key, value, headers))


def conversation_format(snapshots: TopicWire) -> StateFormat[Conversation]:
    """How conversations are kept: as the snapshots of the changelog."""
    return StateFormat(snapshots.encode, snapshots.decode, next_deadline_us)
