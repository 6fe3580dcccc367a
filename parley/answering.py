"""Chooses who writes the answers, as the settings say."""

from __future__ import annotations

import asyncio

from infra.providers import (
    Endpoint,
    FallbackProvider,
    GroundedProvider,
    OpenAICompatible,
    Provider,
    Timeouts,
)
from infra.providers.prices import Prices
from infra.settings.behaviour import AnsweringSettings
from parley.wiring import Wiring
from processors.answering.grounding import SHIPPED, GroundingModel
from streams.answering.turns import Answerer
from streams.answering.writer import Writer
from streams.knowledge import KnowledgeTable


async def build_answerer(wiring: Wiring, knowledge: KnowledgeTable) -> Answerer:
    """The answerer of this process, with its models loaded."""
    chosen = wiring.settings.answering
    encoder = await asyncio.to_thread(lambda: wiring.encoder)
    return Writer(
        encoder,
        knowledge.index,
        GroundingModel.parse(SHIPPED.read_text()),
        provider(chosen, wiring.settings.conversation.turn_deadline_ms),
        max_output_tokens=chosen.max_output_tokens,
        temperature=chosen.temperature,
        passages_max=chosen.passages,
    )


def provider(chosen: AnsweringSettings, turn_deadline_ms: int) -> Provider:
    """The provider that the settings name, with the grounded one behind it."""
    grounded = GroundedProvider(chosen.pace_ms)
    if chosen.provider == "grounded":
        return grounded
    model = OpenAICompatible(
        Endpoint(
            chosen.base_url,
            chosen.model,
            None if chosen.api_key is None else chosen.api_key.get_secret_value(),
            Prices.of(chosen.price_input_usd, chosen.price_output_usd),
        ),
        Timeouts(
            connect_ms=chosen.connect_timeout_ms,
            first_token_ms=chosen.first_token_timeout_ms,
            idle_ms=chosen.idle_timeout_ms,
            total_ms=turn_deadline_ms,
        ),
    )
    return FallbackProvider(model, grounded) if chosen.fallback else model
