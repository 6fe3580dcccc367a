"""Who writes the answers: as the settings say, with the grounded answerer behind a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from infra.providers import (
    FallbackProvider,
    Finish,
    GenerationRequest,
    GroundedProvider,
    OpenAICompatible,
    Piece,
    Provider,
    TextDelta,
    Timeouts,
    Unavailable,
    Usage,
)
from infra.settings import Settings
from infra.settings.behaviour import AnsweringSettings
from parley.answering import build_answerer, provider
from parley.wiring import Wiring
from processors.answering.context import TurnContext
from schemas.topics import KNOWLEDGE
from schemas.wire import TopicWire
from streams.answering.turns import Question
from streams.answering.writer import Writer
from streams.kafka_options import KafkaOptions
from streams.knowledge import KnowledgeTable

NOBODY = "http://127.0.0.1:1/v1"
TURN_MS = 60_000
REQUEST = GenerationRequest(grounded="From the articles.")
CHUNKS = (
    b'data: {"choices": [{"index": 0, "delta": {"content": "In three days."}}]}\n\n'
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


async def said(chosen: Provider) -> tuple[str, list[Piece]]:
    """What a provider says, and what else it tells."""
    async with aclosing(chosen.stream(REQUEST)) as stream:
        pieces = [piece async for piece in stream]
    await chosen.close()
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
    return text, [piece for piece in pieces if not isinstance(piece, TextDelta)]


async def test_without_any_settings_the_grounded_provider_answers() -> None:
    chosen = provider(AnsweringSettings(), TURN_MS)
    assert isinstance(chosen, GroundedProvider)
    assert (await said(chosen))[0] == "From the articles."


def test_the_pace_of_grounded_answers_is_a_setting_also_behind_a_model() -> None:
    alone = provider(AnsweringSettings(pace_ms=7.5), TURN_MS)
    assert isinstance(alone, GroundedProvider)
    behind = provider(AnsweringSettings(provider="openai", pace_ms=7.5), TURN_MS)
    assert isinstance(behind, FallbackProvider)
    assert isinstance(behind.second, GroundedProvider)
    assert (alone.pace_ms, behind.second.pace_ms) == (7.5, 7.5)


def test_a_model_is_asked_where_and_for_as_long_as_the_settings_say() -> None:
    chosen = provider(
        AnsweringSettings(
            provider="openai",
            base_url="https://models.example/v1",
            model="large",
            api_key="sk-secret",
            price_input_usd=0.15,
            price_output_usd=0.6,
            connect_timeout_ms=1,
            first_token_timeout_ms=2,
            idle_timeout_ms=3,
            fallback=False,
        ),
        TURN_MS,
    )
    assert isinstance(chosen, OpenAICompatible)
    assert chosen.timeouts == Timeouts(connect_ms=1, first_token_ms=2, idle_ms=3, total_ms=TURN_MS)
    assert chosen.endpoint.url == "https://models.example/v1/chat/completions"
    assert (chosen.endpoint.model, chosen.endpoint.api_key) == ("large", "sk-secret")
    assert float(chosen.endpoint.prices.cost_usd(1_000_000, 0)) == pytest.approx(0.15)
    assert float(chosen.endpoint.prices.cost_usd(0, 1_000_000)) == pytest.approx(0.6)


async def test_a_model_that_is_away_is_replaced_by_the_grounded_provider() -> None:
    chosen = provider(AnsweringSettings(provider="openai", base_url=NOBODY), TURN_MS)
    text, rest = await said(chosen)
    assert text == "From the articles."
    assert [p.provider for p in rest if isinstance(p, Usage)] == ["grounded"]
    assert [p.degraded for p in rest if isinstance(p, Finish)] == [("provider_unavailable",)]


async def test_a_model_without_fallback_is_not_replaced() -> None:
    settings = AnsweringSettings(provider="openai", base_url=NOBODY, fallback=False)
    with pytest.raises(Unavailable):
        await said(provider(settings, TURN_MS))


@dataclass
class Model:
    """A server that speaks OpenAI's protocol, and what it was asked."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        return web.Response(body=CHUNKS, content_type="text/event-stream")


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    model = Model()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield model
    await runner.cleanup()


async def test_the_answerer_asks_the_model_of_the_settings_with_their_limits(
    model: Model, tmp_path: Path
) -> None:
    chosen = AnsweringSettings(
        provider="openai",
        base_url=model.url,
        model="large",
        api_key="sk-secret",
        max_output_tokens=77,
        temperature=0.5,
    )
    wiring = Wiring(Settings(data_dir=tmp_path, answering=chosen), "test")
    empty = KnowledgeTable(TopicWire(KNOWLEDGE, wiring.registry), KafkaOptions("127.0.0.1:1"))
    answerer = await build_answerer(wiring, empty)
    assert isinstance(answerer, Writer)

    async def say(text: str) -> None:
        """Nobody listens."""

    question = Question("demo", TurnContext("Where is my card?", ()), "grounded/1", False)
    answer = await answerer.answer(question, say)
    assert answer.text == "In three days."
    (body,) = model.bodies
    assert (body["model"], body["max_completion_tokens"], body["temperature"]) == ("large", 77, 0.5)
    assert model.keys == ["Bearer sk-secret"]
    await answerer._provider.close()
    wiring.close()
