"""Applies a batch of events to Redis: loads the views it needs, folds, and lets Lua compare `seq`.

Two sinks may do this at once after a pause. Lua applies events only to the view they were folded
from, so the slower one is refused, reads again and finds that there is nothing left to do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.events import (
    Event,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRestarted,
    TurnStarted,
)
from schemas.failures import Unavailable
from sinks.port import Delivery
from sinks.redis.frames import event_frame, sealed_texts, shown
from sinks.redis.keys import conversation_keys
from sinks.redis.line import Line
from sinks.redis.meter import Meter
from sinks.redis.partition import ConversationId, Partition, verdict
from sinks.redis.scripts import Call, Scripts, TurnStep, redis_failures, run
from sinks.redis.texts import Opener, event_texts, fetch_keys
from sinks.redis.view import EMPTY, View, evolve, stored_view

log = logging.getLogger(__name__)

ROUNDS_MAX = 8
"""Tries of a conversation that another sink changes at the same time."""

Events = dict[ConversationId, list[Event]]
Gaps = dict[ConversationId, tuple[int, int]]
"""The `seq` that is missing and the one that came instead. Declared once the partition's offset
has moved, since until then a Redis that was rolled back looks the same."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A conversation's events, folded and ready to be applied."""

    conversation: ConversationId
    before: int
    view: View
    newest_us: int
    steps: tuple[tuple[bytes, TurnStep], ...]


class EventProjection:
    """Views, logs and bells."""

    def __init__(
        self, line: Line, scripts: Scripts, opener: Opener, epoch: bytes, meter: Meter
    ) -> None:
        self._line = line
        self._scripts = scripts
        self._opener = opener
        self._epoch = epoch
        self._meter = meter

    async def apply(self, partition: Partition, batch: Sequence[Delivery]) -> None:
        """Applies the batch and moves the partition's offset behind it, in one round trip unless
        a view has to be read.

        The offset moves in the same step as the events where all are of one conversation, and
        else in a last step that sees every conversation applied.
        """
        pending = every = _by_conversation(batch)
        next_offset = batch[-1].offset + 1
        gaps: Gaps = {}
        for tries in range(ROUNDS_MAX):
            plans = await self._plan(partition, pending, gaps, may_guess=tries == 0)
            joined = len(every) == 1 and bool(plans)
            calls = [self._call(partition, plan, next_offset if joined else None) for plan in plans]
            if not joined:
                calls.append(self._last(partition, every, gaps, next_offset))
            answers = await run(self._line, calls)
            pending = self._settle(partition, plans, answers[: len(plans)], pending)
            if not pending:
                verdict(answers[-1], partition)
                break
        else:
            raise Unavailable(f"{partition!r}: another sink changes the same conversations")
        for conversation, (missing, found) in gaps.items():
            self._stop(partition, conversation, missing, found)

    def _last(self, partition: Partition, every: Events, gaps: Gaps, next_offset: int) -> Call:
        """The step that moves the offset once every conversation is applied as far as it goes."""
        reached = [
            (conversation_keys(*conversation).view, events[-1].envelope.seq)
            for conversation, events in every.items()
            if conversation not in gaps
        ]
        return self._scripts.offset(partition.guard(self._epoch), next_offset, reached)

    def _call(self, partition: Partition, plan: Folded, next_offset: int | None) -> Call:
        return self._scripts.events(
            partition.guard(self._epoch),
            conversation_keys(*plan.conversation),
            plan.before,
            plan.view,
            plan.view.state(),
            plan.newest_us,
            plan.steps,
            next_offset,
        )

    async def _plan(
        self, partition: Partition, pending: Events, gaps: Gaps, *, may_guess: bool
    ) -> list[Folded]:
        views = await self._views(partition, pending, may_guess)
        plans = []
        for conversation, events in pending.items():
            new, found = _unseen(views[conversation], events)
            if found is None:
                gaps.pop(conversation, None)
            else:
                gaps[conversation] = (views[conversation].seq + len(new) + 1, found)
            if new:
                texts = [sealed for event in new for sealed in sealed_texts(event)]
                await fetch_keys(self._opener, conversation[0], texts)
                plans.append(self._fold(conversation, views[conversation], new))
        return plans

    async def _views(
        self, partition: Partition, pending: Events, may_guess: bool
    ) -> Mapping[ConversationId, View]:
        """Remembered views that the events follow, the rest from Redis.

        A first event follows nothing, unless it was applied before: then Lua says so.
        """
        views: dict[ConversationId, View] = {}
        for conversation, events in pending.items():
            seq = events[0].envelope.seq
            view = partition.view(conversation)
            if view is None and seq == 1 and may_guess:
                view = EMPTY
            if view is not None and view.seq + 1 == seq:
                views[conversation] = view
        missing = [conversation for conversation in pending if conversation not in views]
        return views | await read_views(self._line, missing, self._epoch) if missing else views

    def _stop(
        self, partition: Partition, conversation: ConversationId, missing: int, found: int
    ) -> None:
        if partition.stopped.get(conversation) == missing:
            return
        partition.stopped[conversation] = missing
        self._meter.gap(conversation[0])
        log.error(
            "conversation %s of tenant %s stands still in Redis: event %d is missing, %d came; "
            "look for it among the dead letters, or feed Redis again from the beginning",
            conversation[1],
            conversation[0],
            missing,
            found,
        )

    def _fold(self, conversation: ConversationId, view: View, events: Sequence[Event]) -> Folded:
        before = view.seq
        steps = []
        for event in events:
            data = shown(event, event_texts(self._opener, event))
            steps.append((event_frame(event, data), turn_step(event)))
            view = evolve(view, event, data)
        newest_us = events[-1].envelope.occurred_at
        return Folded(conversation, before, view, newest_us, tuple(steps))

    def _settle(
        self,
        partition: Partition,
        plans: Sequence[Folded],
        answers: Sequence[list[object]],
        pending: Events,
    ) -> Events:
        """Takes the answers in, and returns what has to be tried again."""
        again: Events = {}
        for plan, answer in zip(plans, answers, strict=True):
            word, _ = verdict(answer, partition)
            if word == b"applied":
                partition.remember(plan.conversation, plan.view)
                self._meter.applied(plan.conversation[0], len(plan.steps))
                if partition.stopped.get(plan.conversation, plan.view.seq + 1) <= plan.view.seq:
                    del partition.stopped[plan.conversation]
            else:
                partition.forget(plan.conversation)
                again[plan.conversation] = pending[plan.conversation]
        done = sum(len(pending[c]) for c in pending if c not in again)
        fresh = sum(len(plan.steps) for plan in plans if plan.conversation not in again)
        if done > fresh:
            self._meter.repeated(done - fresh)
        return again


def _by_conversation(batch: Sequence[Delivery]) -> Events:
    events: Events = {}
    for delivery in batch:
        envelope = delivery.record.envelope
        key = (envelope.tenant_id, envelope.conversation_id)
        events.setdefault(key, []).append(delivery.record)
    return events


def _unseen(view: View, events: Sequence[Event]) -> tuple[list[Event], int | None]:
    """The events after the view up to the first gap, and the `seq` behind that gap."""
    new: list[Event] = []
    for event in events:
        seq, expected = event.envelope.seq, view.seq + len(new) + 1
        if seq > expected:
            return new, seq
        if seq == expected:
            new.append(event)
    return new, None


def turn_step(event: Event) -> TurnStep:
    """What an event does to the open turn."""
    match event:
        case TurnStarted():
            return TurnStep(b"start", event.turn_id, 1)
        case TurnRestarted():
            return TurnStep(b"restart", event.turn_id, event.attempt)
        case TurnCompleted() | TurnFailed() | TurnCancelled():
            return TurnStep(b"end", event.turn_id, event.attempt)
        case _:
            return TurnStep()


async def read_views(
    line: Line, conversations: Sequence[ConversationId], epoch: bytes
) -> dict[ConversationId, View]:
    """The views that Redis holds; `EMPTY` for none, or for one of another epoch."""
    fields = (b"epoch", b"seq", b"owner", b"done", b"state")
    with redis_failures():
        rows = await line.ask(
            *((b"HMGET", conversation_keys(*each).view, *fields) for each in conversations)
        )
        for row in rows:
            if isinstance(row, Exception):
                raise row
    return {
        conversation: stored_view(*held) if stored_epoch == epoch else EMPTY
        for conversation, (stored_epoch, *held) in zip(conversations, rows, strict=True)
    }
