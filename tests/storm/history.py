"""What the customers wrote down: every send with its outcome, and all that their screens showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Place = tuple[str, str]
"""Tenant and conversation."""


def canary(tenant: str) -> str:
    """A word that only one tenant's people say."""
    return f"canary-{tenant}"


class Outcome(StrEnum):
    """What a customer knows of a send."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Send:
    """One message, however often it was sent."""

    place: Place
    mid: str
    text: str
    outcome: Outcome = Outcome.UNKNOWN
    code: str = ""
    times: int = 0
    contradicted: Outcome | None = None
    """What came of saying something else under the same id, if that was tried."""


class Deed(StrEnum):
    """What a customer does besides talking, by the name of its command."""

    CANCEL = "CancelTurn"
    RATE = "SubmitFeedback"
    CLOSE = "CloseConversation"


@dataclass(slots=True)
class Act:
    """One thing that was done, however often it was sent. `turn` is what it is about."""

    place: Place
    mid: str
    deed: Deed
    turn: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    times: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that came to a screen: an event, a reset to a snapshot, a stretch of text, or the
    beginning of a subscription.

    `seq` is that of the event or snapshot; `turn`, `attempt`, `at` and `text` belong to texts, and
    `text` to events that show one too. `mids` are the messages of customers in a snapshot, in
    order; `resumed` is what the gateway said at the beginning.
    """

    kind: str
    seq: int = 0
    mid: str | None = None
    turn: str | None = None
    attempt: int = 0
    at: int = 0
    text: str = ""
    mids: tuple[str, ...] = ()
    resumed: bool = False
    whole: str = field(default="", repr=False)
    """All of the frame's data as text, to look for canaries."""


@dataclass(slots=True)
class Screen:
    """What one customer saw of a conversation, in order, over all reconnects."""

    place: Place
    seen: list[Seen] = field(default_factory=list)

    @property
    def seq(self) -> int:
        """The last event that is on it."""
        return max((item.seq for item in self.seen), default=0)


@dataclass(slots=True)
class History:
    """Everything that clients know after a storm."""

    sends: list[Send] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    screens: dict[Place, Screen] = field(default_factory=dict)
    reconnects: int = 0

    def screen(self, place: Place) -> Screen:
        """The screen of a conversation."""
        return self.screens.setdefault(place, Screen(place))

    def counted(self) -> dict[str, Any]:
        """Figures for people."""
        outcomes = [send.outcome for send in self.sends]
        acts = [(act.deed, act.outcome) for act in self.acts]
        return {
            "conversations": len(self.screens),
            "sends": len(self.sends),
            "times sent": sum(send.times for send in self.sends),
            **{outcome.value: outcomes.count(outcome) for outcome in Outcome},
            **{
                deed.value: ", ".join(f"{acts.count((deed, o))} {o}" for o in Outcome)
                for deed in Deed
            },
            "reconnects": self.reconnects,
        }
