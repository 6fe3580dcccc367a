"""The grounded provider, the fallback's name for things, and exact prices."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.providers import (
    FallbackProvider,
    Finish,
    GenerationRequest,
    GroundedProvider,
    Prices,
    Rejected,
    TextDelta,
    Usage,
)


async def stream(text: str | None, pace_ms: float = 0.0) -> list[object]:
    provider = GroundedProvider(pace_ms)
    return [piece async for piece in provider.stream(GenerationRequest(grounded=text))]


async def test_an_answer_comes_word_by_word_and_costs_nothing() -> None:
    pieces = await stream("Open the app.\n\n- Tap [1]", pace_ms=0.01)
    texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
    assert "".join(texts) == "Open the app.\n\n- Tap [1]"
    assert len(texts) == 6
    assert pieces[-2] == Usage("grounded", "grounded", 0, 6)
    assert pieces[-1] == Finish()


async def test_without_a_pace_it_comes_line_by_line_and_counts_the_same_words() -> None:
    pieces = await stream("Open the app.\n\n- Tap [1]")
    texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
    assert texts == ["Open the app.\n", "\n", "- Tap [1]"]
    assert pieces[-2:] == [Usage("grounded", "grounded", 0, 6), Finish()]


@given(st.text().filter(str.strip))
async def test_no_character_is_lost(text: str) -> None:
    pieces = await stream(text)
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == text


@pytest.mark.parametrize("nothing", [None, ""])
async def test_without_a_composed_answer_there_is_nothing_to_stream(nothing: str | None) -> None:
    with pytest.raises(Rejected, match="retrieve first"):
        await stream(nothing)


async def test_a_pace_slows_the_words_down() -> None:
    began = time.monotonic()
    await stream("one two three four", pace_ms=20)
    assert time.monotonic() - began >= 0.08


async def test_a_chain_of_two_grounded_answers_is_not_degraded() -> None:
    chain = FallbackProvider(GroundedProvider(), GroundedProvider())
    pieces = [piece async for piece in chain.stream(GenerationRequest(grounded="Yes."))]
    assert pieces[-1] == Finish("stop", ())
    assert chain.name == "grounded"
    await chain.close()


def test_costs_are_exact_to_the_nano_dollar() -> None:
    prices = Prices.of(0.1, 0.3)
    assert prices.cost_usd(3, 1) == Decimal("0.0000006")
    usage = Usage("p", "m", 3, 1, prices.cost_usd(3, 1))
    assert usage.cost_nano_usd == 600
    assert Usage("p", "m", 1, 0, Prices.of("0.0015", 0).cost_usd(1, 0)).cost_nano_usd == 2


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Prices.of(-1, 0)
