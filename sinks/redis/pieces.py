"""Applies pieces of streamed answers to the open turns in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.records import AnswerPiece
from sinks.port import Delivery
from sinks.redis.frames import tokens_frame
from sinks.redis.keys import conversation_keys
from sinks.redis.line import Line
from sinks.redis.meter import Meter
from sinks.redis.partition import ConversationId, Partition, verdict
from sinks.redis.scripts import Scripts, run
from sinks.redis.texts import Opener, fetch_keys, piece_text

Piece = tuple[str, int, int, int, bytes, str]
"""Turn, attempt, start, end, frame and text."""


@dataclass(frozen=True, slots=True)
class Run:
    """Pieces of one conversation that follow each other in their partition."""

    conversation: ConversationId
    offset: int
    """Where the first of them stands."""
    pieces: list[Piece]


class PieceProjection:
    """The text of open turns. Which pieces count is decided in Lua, next to what is stored."""

    def __init__(
        self, line: Line, scripts: Scripts, opener: Opener, epoch: bytes, meter: Meter
    ) -> None:
        self._line = line
        self._scripts = scripts
        self._opener = opener
        self._epoch = epoch
        self._meter = meter

    async def apply(self, partition: Partition, batch: Sequence[Delivery]) -> None:
        """Applies the batch and moves the partition's offset behind it.

        Every step moves the offset behind its own pieces and asks for what the step before it
        moved to, so a Redis that is rolled back between two of them is found out.
        """
        guard = partition.guard(self._epoch)
        end = batch[-1].offset + 1
        runs = await self._runs(batch)
        calls = []
        for n, run_of_pieces in enumerate(runs):
            next_offset = runs[n + 1].offset if n + 1 < len(runs) else end
            keys = conversation_keys(*run_of_pieces.conversation)
            calls.append(self._scripts.pieces(guard, keys, run_of_pieces.pieces, next_offset))
            guard = replace(guard, known=next_offset)
        if not calls:
            calls.append(self._scripts.offset(guard, end))
        for answer in await run(self._line, calls):
            _, numbers = verdict(answer, partition)
            if len(numbers) == 3:
                self._meter.pieces(*numbers)

    async def _runs(self, batch: Sequence[Delivery]) -> list[Run]:
        """The readable pieces, with neighbours of the same conversation together."""
        runs: list[Run] = []
        for delivery in batch:
            piece: AnswerPiece = delivery.record
            await fetch_keys(self._opener, piece.tenant_id, (piece.text,))
            text = piece_text(self._opener, piece)
            if not text:
                continue
            conversation = (piece.tenant_id, piece.conversation_id)
            if not runs or runs[-1].conversation != conversation:
                runs.append(Run(conversation, delivery.offset, []))
            frame = tokens_frame(piece, text)
            runs[-1].pieces.append(
                (piece.turn_id, piece.attempt, piece.start, piece.end, frame, text)
            )
        return runs
