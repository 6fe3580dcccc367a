"""What one client has of one conversation, and what may be sent to it next.

Knows cursors, pages and frames; when to read and whom to ask is the subscription's.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway import replies
from gateway.frames import Position
from gateway.outbox import Outbox
from gateway.read_model import Logged, Page, snapshot_state
from gateway.token_merge import Stretch
from sinks.redis.keys import LOG_EVENTS_MAX

TURN_STARTS = frozenset(("TurnStarted", "TurnRestarted"))
TURN_ENDS = frozenset(("TurnCompleted", "TurnFailed", "TurnCancelled", "TurnRefused"))


@dataclass(slots=True)
class AnswerCursor:
    """How many code points of which answer the client has."""

    turn: str
    attempt: int
    at: int


class Delivery:
    """The cursor of one client. Methods that send answer False when they could not.

    False means: read the log from the cursor, as something is missing or the outbox is full.
    """

    def __init__(self, conversation: str, outbox: Outbox) -> None:
        self.epoch = ""
        self.seq = 0
        self.snapshots = 0
        self._conversation = conversation
        self._outbox = outbox
        self._answer: AnswerCursor | None = None
        self._over = ""

    def begin(self, page: Page, position: Position) -> bool:
        """Starts from the client's cursor, or else with a snapshot; whether it could resume."""
        if not resumable(page, position):
            self._snapshot(page)
            return False
        self.epoch = page.epoch
        self.seq = position.seq or 0
        if position.turn is not None:
            self._answer = AnswerCursor(position.turn, position.attempt or 1, position.at or 0)
        return True

    def event(self, event: Logged) -> bool:
        """Sends an event if it is the next one; an old one is dropped."""
        if event.seq <= self.seq:
            return True
        if event.seq != self.seq + 1 or not self._outbox.offer(event.frame):
            return False
        self.seq = event.seq
        if event.type in TURN_STARTS and event.turn:
            self._answer = AnswerCursor(event.turn, event.attempt or 1, 0)
        elif event.type in TURN_ENDS and event.turn:
            self._answer = None
            self._over = event.turn
        return True

    def stretch(self, stretch: Stretch) -> bool:
        """Sends a stretch of an answer if it goes on where the client is."""
        has = self._answer
        if stretch.turn == self._over:
            return True
        if has is None or stretch.turn != has.turn:
            return False
        if (stretch.attempt, stretch.end) <= (has.attempt, has.at):
            return True
        if stretch.attempt > has.attempt or stretch.start > has.at:
            return False
        if not self._outbox.offer(stretch.frame):
            return False
        has.at = stretch.end
        return True

    def page(self, page: Page) -> bool:
        """Sends what a page has; whether the client then has everything up to its moment."""
        first = page.events[0].seq if page.events else page.head + 1
        if page.epoch != self.epoch or first > self.seq + 1:
            # Another log, or events that are gone from it: only a snapshot is whole.
            if self._outbox.full:
                return False
            self._snapshot(page)
            return True
        # A loop that stops at the first refusal, so that order is kept.
        return all(map(self.event, page.events)) and self.seq >= page.head and self._text(page)

    def _text(self, page: Page) -> bool:
        """Sends the open answer's text from where the client has it."""
        answer, has = page.answer, self._answer
        if answer is None or page.head < self.seq:
            return True
        start = 0
        if has is not None and (has.turn, has.attempt) == (answer.turn, answer.attempt):
            start = has.at
        if start < len(answer.text):
            rest = answer.text[start:]
            frame = replies.tokens(self._conversation, answer.turn, answer.attempt, start, rest)
            if not self._outbox.offer(frame):
                return False
        self._answer = AnswerCursor(answer.turn, answer.attempt, max(start, len(answer.text)))
        return True

    def _snapshot(self, page: Page) -> None:
        """Starts the client over at the page's moment."""
        state = snapshot_state(page.view, page.answer) if page.view else b"{}"
        self._outbox.put(replies.snapshot(self._conversation, page.epoch, page.head, state))
        self.snapshots += 1
        if page.epoch != self.epoch:
            # A log that began anew gives the ids of its turns again.
            self._over = ""
        self.epoch, self.seq = page.epoch, page.head
        answer = page.answer
        self._answer = (
            AnswerCursor(answer.turn, answer.attempt, len(answer.text)) if answer else None
        )


def resumable(page: Page, position: Position) -> bool:
    """Whether every event after the client's cursor is at hand. Nothing read needs no epoch."""
    seq = position.seq
    if seq is None or seq > page.head or page.head - seq > LOG_EVENTS_MAX:
        return False
    if position.epoch != page.epoch and not (seq == 0 and position.epoch is None):
        return False
    return seq == page.head or (bool(page.events) and page.events[0].seq == seq + 1)
