"""The port to whoever writes answers: one request in, pieces of text, usage and an end out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

NANO_USD = 1_000_000_000
"""Nano-dollars in a US dollar, the unit in which events record costs."""

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What is to be answered. Texts are redacted, and never appear in a `repr`.

    `grounded` is the answer that was composed from the tenant's knowledge; a model ignores it,
    the grounded provider streams it. `prefer_fallback` asks a chain to pass its first provider
    over, as a caller does who restarts an attempt that the first one broke off.
    """

    messages: tuple[Message, ...] = ()
    grounded: str | None = None
    max_output_tokens: int = 800
    temperature: float | None = None
    prefer_fallback: bool = False

    def __repr__(self) -> str:
        return (
            f"GenerationRequest(messages={len(self.messages)}, "
            f"grounded={self.grounded is not None}, max_output_tokens={self.max_output_tokens})"
        )


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the generation consumed. `estimated` where the provider did not say."""

    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal = Decimal(0)
    estimated: bool = False

    @property
    def cost_nano_usd(self) -> int:
        """The cost in nano-dollars, rounded half to even."""
        return int((self.cost_usd * NANO_USD).to_integral_value())


@dataclass(frozen=True, slots=True)
class Finish:
    """The last piece. `degraded` names what was not as configured: `provider_unavailable`, …"""

    reason: Literal["stop", "length", "filtered"] = "stop"
    degraded: tuple[str, ...] = ()


Piece = TextDelta | Usage | Finish


class Provider(Protocol):
    """Streams `TextDelta`s, then one `Usage`, then one `Finish`, or raises a `ProviderError`.

    Wrap the iteration in `contextlib.aclosing`, so that leaving it early closes the connection.
    """

    @property
    def name(self) -> str:
        """Short name for events and metrics."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece, None]:
        """Begins to generate."""

    async def close(self) -> None:
        """Gives connections back. Nothing may be streamed afterwards."""
