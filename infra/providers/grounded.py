"""Streams an answer that was composed from the tenant's knowledge, in the shape of a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from infra.providers.errors import Rejected
from infra.providers.port import Finish, GenerationRequest, Piece, TextDelta, Usage

_WORD = re.compile(r"\s*\S+\s*")


class GroundedProvider:
    """Needs no key and no network. `pace_ms` waits after each word, for demonstrations.

    Without a pace the answer comes line by line: there is nothing to wait for between words.
    """

    name = "grounded"

    def __init__(self, pace_ms: float = 0.0):
        self.pace_ms = pace_ms

    def __repr__(self) -> str:
        return f"GroundedProvider(pace_ms={self.pace_ms})"

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece, None]:
        """The pieces put together are exactly `request.grounded`."""
        if not request.grounded:
            raise Rejected("a grounded answer was asked for, but none was composed: retrieve first")
        words = _WORD.findall(request.grounded)
        if self.pace_ms > 0:
            for word in words:
                yield TextDelta(word)
                await asyncio.sleep(self.pace_ms / 1000)
        else:
            for line in request.grounded.splitlines(keepends=True):
                yield TextDelta(line)
        yield Usage(self.name, self.name, 0, len(words))
        yield Finish()

    async def close(self) -> None:
        """Nothing is held."""
