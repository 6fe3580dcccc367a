"""What a turn brings along: the message, and the earlier turns that are in view."""

from __future__ import annotations

from dataclasses import dataclass

from processors.answering.words import without_placeholders


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """A question that was asked before, its answer, and the documents cited, in their order."""

    question: str
    answer: str = ""
    cited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnContext:
    """The message to answer and the turns before it, oldest first; all texts are redacted."""

    message: str
    earlier: tuple[EarlierTurn, ...] = ()

    @property
    def query(self) -> str:
        """The message without placeholders, which is what can be searched."""
        return without_placeholders(self.message)
