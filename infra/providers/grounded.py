"""Streams an answer that was composed from the tenant's knowledge, in the shape of a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from infra.providers.errors import Rejected
from infra.providers.port import Finish, GenerationRequest, Piece, TextDelta, Usage

_WORD = re.compile(r"\s*\S+\s*")


class GroundedProvider:
    """Needs no key and no network. `pace_ms` waits after each word, for demonstrations."""

    name = "grounded"

    def __init__(self, pace_ms: float = 0.0):
        self.pace_ms = pace_ms

    def __repr__(self) -> str:
        return f"GroundedProvider(pace_ms={self.pace_ms})"

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece, None]:
        """Word by word; the pieces put together are exactly `request.grounded`."""
        if not request.grounded:
            raise Rejected("a grounded answer was asked for, but none was composed: retrieve first")
        words = _WORD.findall(request.grounded)
        for word in words:
            yield TextDelta(word)
            if self.pace_ms > 0:
                await asyncio.sleep(self.pace_ms / 1000)
        yield Usage(self.name, self.name, 0, len(words))
        yield Finish()

    async def close(self) -> None:
        """Nothing is held."""
