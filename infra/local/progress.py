"""How long work is reported: what is being done and how far it is, for whoever draws the bars."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told about each piece of long work, from several threads at once.

    `label` names the piece and stays the same from its first to its last report. `total_bytes`
    is None where the end is not known; a piece is finished when `done_bytes == total_bytes`,
    or at `finished`.
    """

    def advanced(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        """The piece `label` is at `done_bytes`, counted from its start."""

    def finished(self, label: str) -> None:
        """The piece `label` is complete."""


class Silent:
    """Progress that nobody watches."""

    def advanced(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        """Says nothing."""

    def finished(self, label: str) -> None:
        """Says nothing."""
