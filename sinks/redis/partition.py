"""What the sink remembers of a partition between batches, and how it reads Redis' refusals."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from sinks.redis.keys import offset_key
from sinks.redis.scripts import Guard
from sinks.redis.view import View

VIEWS_MAX = 1_000
"""Views kept per partition. One that is not here costs a read, never correctness."""

PATIENCE = 5
"""Batches that may come from before the engine went back."""

ConversationId = tuple[str, str]
"""Tenant and conversation."""


class TailLost(Exception):
    """Redis knows less than it did: it was emptied, or restored to an earlier moment."""


class ForeignLog(RuntimeError):
    """Redis belongs to another incarnation of the log by now."""

    def __init__(self, who: object) -> None:
        super().__init__(
            f"{who!r}: Redis holds another incarnation of the log; this sink read the topic's id "
            "before the topics were recreated, so it must start again"
        )


class Partition:
    """The sink's memory of one partition. Redis has the last word on all of it."""

    def __init__(self, topic: str, partition: int, known: int) -> None:
        self.topic = topic
        self.partition = partition
        self.known = known
        """The offset that Redis is known to have reached."""
        self._behind = 0
        self._patience = 0
        self._key = offset_key(topic, partition)
        self.stopped: dict[ConversationId, int] = {}
        """Conversations with a gap, and the `seq` that is missing."""
        self._views: OrderedDict[ConversationId, View] = OrderedDict()

    def __repr__(self) -> str:
        return f"Partition({self.topic}/{self.partition} at {self.known})"

    def guard(self, epoch: bytes) -> Guard:
        """What a script checks before it writes."""
        return Guard(self._key, epoch, self.known)

    def expect_again(self, reached: int) -> None:
        """Redis had reached an offset and lost it: what comes next must begin before that."""
        self._behind, self._patience = reached, PATIENCE

    def is_ahead(self, offset: int) -> bool:
        """Whether a batch that begins here was on its way before the engine went back.

        Applied, it would look like a gap. A log whose events are gone has nothing to go back to,
        so after some times the batch is taken.
        """
        if not self._patience:
            return False
        is_ahead = offset >= self._behind
        self._patience = self._patience - 1 if is_ahead else 0
        return is_ahead

    def view(self, conversation: ConversationId) -> View | None:
        """The remembered view; another sink may have taken Redis further."""
        view = self._views.get(conversation)
        if view is not None:
            self._views.move_to_end(conversation)
        return view

    def remember(self, conversation: ConversationId, view: View) -> None:
        """Keeps a view that Redis holds."""
        self._views[conversation] = view
        self._views.move_to_end(conversation)
        if len(self._views) > VIEWS_MAX:
            self._views.popitem(last=False)

    def forget(self, conversation: ConversationId) -> None:
        """Lets a view go that Redis contradicted."""
        self._views.pop(conversation, None)


def verdict(answer: list[Any], partition: Partition) -> tuple[bytes, list[int]]:
    """A script's answer. Raises `TailLost` or `ForeignLog` where its guard refused."""
    word, *numbers = answer
    if word == b"lost":
        raise TailLost(f"{partition!r}: Redis stands at {numbers[0]}")
    if word == b"foreign":
        raise ForeignLog(partition)
    return word, numbers
