"""A conversation folded from the log into all that its projections should hold. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from parley.verify.differences import LOG, Conversation, Difference
from processors.conversation.evolve import evolve as evolve_state
from processors.conversation.state import Conversation as State
from processors.conversation.state import new_conversation
from schemas.events import Event
from sinks.clickhouse.digests import Digest
from sinks.redis.frames import event_frame, shown
from sinks.redis.keys import LOG_BYTES_MAX, LOG_EVENTS_MAX
from sinks.redis.view import EMPTY, View
from sinks.redis.view import evolve as evolve_view


@dataclass(slots=True)
class FrameLog:
    """Sizes and hashes of the frames that Redis should have, trimmed as Redis trims them."""

    frames: deque[tuple[int, int]] = field(default_factory=deque)
    size_bytes: int = 0

    def append(self, frame: bytes) -> None:
        """Adds the newest frame."""
        self.frames.append((len(frame), hash(frame)))
        self.size_bytes += len(frame)
        while len(self.frames) > 1 and (
            len(self.frames) > LOG_EVENTS_MAX or self.size_bytes > LOG_BYTES_MAX
        ):
            self.size_bytes -= self.frames.popleft()[0]


class History:
    """What one conversation's events amount to. A log that is itself wrong stops the fold."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.view: View = EMPTY
        self.state: State = new_conversation(*conversation)
        self.frames = FrameLog()
        self.newest_us = 0
        self.broken: Difference | None = None

    def __repr__(self) -> str:
        return f"History({':'.join(self.conversation)} at {self.seq})"

    @property
    def seq(self) -> int:
        """The latest event."""
        return self.view.seq

    def add(self, event: Event, texts: Sequence[str]) -> None:
        """Folds the next event; `texts` are those of `frames.sealed_texts`, opened."""
        if self.broken is not None:
            return
        found = event.envelope.seq
        if found != self.seq + 1:
            self.broken = Difference(
                *self.conversation, LOG, "seq", str(self.seq + 1), f"{found} follows {self.seq}"
            )
            return
        data = shown(event, texts)
        self.frames.append(event_frame(event, data))
        self.view = evolve_view(self.view, event, data)
        self.state = evolve_state(self.state, event)
        self.newest_us = event.envelope.occurred_at


def digest_with(digest: Digest, event: Event) -> Digest:
    """The digest with one more event."""
    return digest.plus(event.envelope.seq, event.envelope.event_id, type(event).__name__)
