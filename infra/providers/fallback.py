"""Two providers in a row: the second answers when the first cannot.

A failure before the first piece is repaired here, and the answer says so in `Finish.degraded`.
After it, text is already on its way to a reader: `Interrupted` is raised, and the caller restarts
the attempt with `prefer_fallback`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from infra.providers.errors import ProviderError, RateLimited
from infra.providers.port import Finish, GenerationRequest, Piece, Provider, TextDelta

# After so many failures in a row the first provider is left alone for a while, because every
# turn would otherwise wait for its timeout before being answered by the second.
FAILURES_MAX = 3
REST_S = 15.0
REST_S_MAX = 120.0


class FallbackProvider:
    """Asks `first`, then `second`. One of these may serve many turns at once."""

    def __init__(
        self,
        first: Provider,
        second: Provider,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.first = first
        self.second = second
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    def __repr__(self) -> str:
        return f"FallbackProvider({self.first!r}, {self.second!r})"

    @property
    def name(self) -> str:
        """The name of the provider that is meant to answer."""
        return self.first.name

    @property
    def resting(self) -> bool:
        """Whether the first provider is passed over at the moment."""
        return self._clock() < self._rests_until

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece, None]:
        """Pieces of the first provider, or all of them of the second."""
        why = "provider_passed_over"
        if not request.prefer_fallback and not self.resting:
            began = False
            try:
                async with aclosing(self.first.stream(request)) as pieces:
                    async for piece in pieces:
                        began = began or isinstance(piece, TextDelta)
                        yield piece
                self._failures = 0
                return
            except ProviderError as error:
                self._note(error)
                if began:
                    raise
                why = error.code
        async with aclosing(self.second.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    piece = replace(piece, degraded=(*piece.degraded, why))
                yield piece

    async def close(self) -> None:
        """Closes both."""
        await self.first.close()
        await self.second.close()

    def _note(self, error: ProviderError) -> None:
        self._failures += 1
        rest_s = 0.0
        if isinstance(error, RateLimited):
            rest_s = error.retry_after_s if error.retry_after_s is not None else 1.0
        elif self._failures >= FAILURES_MAX:
            rest_s = REST_S
        self._rests_until = max(self._rests_until, self._clock() + min(rest_s, REST_S_MAX))
