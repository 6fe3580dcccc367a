"""Applies pieces of streamed answers to the open turns in Redis."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from sinks.port import Delivery
from sinks.redis.frames import tokens_frame
from sinks.redis.keys import conversation_keys
from sinks.redis.meter import Meter
from sinks.redis.partition import ConversationId, Partition, verdict
from sinks.redis.scripts import Scripts, run
from sinks.redis.texts import Opener, fetch_keys, piece_text

Piece = tuple[str, int, int, int, bytes, str]
"""Turn, attempt, start, end, frame and text."""


class PieceProjection:
    """The text of open turns. Which pieces count is decided in Lua, next to what is stored."""

    def __init__(
        self, redis: Redis, scripts: Scripts, opener: Opener, epoch: bytes, meter: Meter
    ) -> None:
        self._redis = redis
        self._scripts = scripts
        self._opener = opener
        self._epoch = epoch
        self._meter = meter

    async def apply(self, partition: Partition, batch: Sequence[Delivery]) -> None:
        """Applies the batch and moves the partition's offset behind it."""
        guard = partition.guard(self._epoch)
        next_offset = batch[-1].offset + 1
        pieces = await self._opened(batch)
        alone = len(pieces) == 1
        calls = [
            self._scripts.pieces(
                guard, conversation_keys(*conversation), some, next_offset if alone else None
            )
            for conversation, some in pieces.items()
        ]
        for answer in await run(self._redis, calls):
            _, (appended, held, dropped) = verdict(answer, partition)
            self._meter.pieces(appended, held, dropped)
        if not alone:
            call = self._scripts.offset(guard, next_offset)
            verdict((await run(self._redis, [call]))[0], partition)

    async def _opened(self, batch: Sequence[Delivery]) -> dict[ConversationId, list[Piece]]:
        pieces: dict[ConversationId, list[Piece]] = {}
        for delivery in batch:
            piece = delivery.record
            await fetch_keys(self._opener, piece.tenant_id, (piece.text,))
            text = piece_text(self._opener, piece)
            if text:
                pieces.setdefault((piece.tenant_id, piece.conversation_id), []).append(
                    (
                        piece.turn_id,
                        piece.attempt,
                        piece.start,
                        piece.end,
                        tokens_frame(piece, text),
                        text,
                    )
                )
        return pieces
