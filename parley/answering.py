"""Chooses who writes the answers, as the settings say."""

from __future__ import annotations

import asyncio

from infra.inference.encoder import load_encoder
from parley.wiring import Wiring
from processors.answering.grounding import SHIPPED, GroundingModel
from streams.answering.grounded import GroundedAnswerer
from streams.answering.turns import Answerer
from streams.knowledge import KnowledgeTable


async def build_answerer(wiring: Wiring, knowledge: KnowledgeTable) -> Answerer:
    """The answerer of this process, with its models loaded."""
    chosen = wiring.settings.answering
    encoder = await asyncio.to_thread(load_encoder)
    return GroundedAnswerer(
        encoder,
        knowledge.index,
        GroundingModel.parse(SHIPPED.read_text()),
        pace_ms=chosen.pace_ms,
    )
