"""What must hold after a storm, and what is said where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .history import Place

TURNS_MIN = 100
"""Of fewer turns no share can be told."""


class Rule(StrEnum):
    """What must hold."""

    LOST = "what was acknowledged has its effect"
    DOUBLED = "a command has one effect"
    GHOST = "what was refused has no effect"
    SAME = "all copies have the same effect"
    ORDER = "one order everywhere, without a gap"
    SCREEN = "a screen has no gap without a reset"
    ANALYSED = "one analysis for each message"
    TURN = "one turn and one outcome for each message"
    ANSWERED = "nearly every turn has an answer"
    STREAM = "what streamed is what was completed"
    LIVE = "answers stream while they are written"
    LATE = "a turn ends by its deadline, or soon after"
    TENANT = "nothing under another tenant"
    FOLD = "copies are the fold of the log"
    DRAINED = "drained within a minute"
    STRUCK = "every fault strikes"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A rule that was broken, and where."""

    rule: Rule
    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {':'.join(self.place)}: {self.what}"
