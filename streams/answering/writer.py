"""Writes answers: retrieves from the tenant's knowledge, asks a provider, redacts what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from infra import providers
from infra.inference.encoder import Encoder
from infra.providers import Finish, GenerationRequest, Message, Provider, TextDelta
from processors.analysis.redaction import RedactionHoldback
from processors.answering.citing import CitedPassage, cited_in
from processors.answering.dense import Vectors
from processors.answering.grounded import GroundedAnswer, interpret, needed, prepare
from processors.answering.grounding import GroundingModel
from processors.answering.prompting import hydrate
from schemas.failures import Invalid, Unavailable
from schemas.parts import Usage
from streams.answering.turns import Answer, Interrupted, Question, Say, Source
from streams.knowledge import IndexOf

PASSAGES_MAX = 3


class Writer:
    """Answers from the tenant's passages, in the provider's words or in the passages' own.

    The answer that is composed without any model is always made: it is what the grounded provider
    streams, what a failing model falls back to, and whose confidence the event records.
    """

    def __init__(
        self,
        encoder: Encoder,
        index_of: IndexOf,
        calibration: GroundingModel,
        provider: Provider,
        *,
        max_output_tokens: int,
        temperature: float,
        passages_max: int = PASSAGES_MAX,
    ) -> None:
        self._encoder = encoder
        self._index_of = index_of
        self._calibration = calibration
        self._provider = provider
        self._max_output_tokens = max_output_tokens
        self._temperature = temperature
        self._passages_max = passages_max
        # One session, one thread; never on the event loop.
        self._thread = ThreadPoolExecutor(1, "embed-query")

    def __repr__(self) -> str:
        return f"Writer({self._provider!r})"

    async def answer(self, question: Question, say: Say) -> Answer:
        """See `Answerer.answer`."""
        found = await self._find(question)
        request = GenerationRequest(
            messages=tuple(
                Message(m.role, m.content)
                for m in hydrate(question.prompt_version, question.context, found.passages)
            ),
            grounded=found.text,
            max_output_tokens=self._max_output_tokens,
            temperature=self._temperature,
            prefer_fallback=question.fallback,
        )
        try:
            return await self._stream(request, found, say)
        except providers.Interrupted as error:
            raise Interrupted(str(error)) from error
        except providers.Rejected as error:
            raise Invalid(error.code, str(error)) from error
        except providers.ProviderError as error:
            raise Unavailable(str(error)) from error

    async def _find(self, question: Question) -> GroundedAnswer:
        index = self._index_of(question.tenant_id)
        texts = prepare(question.context)
        embeddings = await self._embedded(texts[:1])
        texts = needed(texts, embeddings[0], index, self._calibration)
        if len(texts) > 1:
            embeddings = await self._embedded(texts)
        return interpret(
            texts,
            embeddings,
            index,
            question.context,
            self._calibration,
            passages_max=self._passages_max,
        )

    async def _embedded(self, texts: Sequence[str]) -> Vectors:
        """Their embeddings, those at once that analysis has left behind."""
        known: Vectors | None = self._encoder.recall(texts)
        if known is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._encoder.encode(texts).embeddings
        )

    async def _stream(self, request: GenerationRequest, found: GroundedAnswer, say: Say) -> Answer:
        said: list[str] = []
        usage = Usage(self._provider.name, self._provider.name, 0, 0, 0)
        degraded: tuple[str, ...] = ()
        holdback = RedactionHoldback()

        async def out(text: str) -> None:
            if text:
                said.append(text)
                await say(text)

        async with aclosing(self._provider.stream(request)) as pieces:
            async for piece in pieces:
                match piece:
                    case TextDelta(text):
                        await out(holdback.feed(text))
                    case providers.Usage():
                        usage = Usage(
                            piece.provider,
                            piece.model,
                            piece.input_tokens,
                            piece.output_tokens,
                            piece.cost_nano_usd,
                        )
                    case Finish():
                        degraded = piece.degraded
        await out(holdback.finish())
        text = "".join(said)
        own_words = usage.provider == providers.GroundedProvider.name
        cited = found.citations if own_words else cited_in(text, found.passages)
        return Answer(
            text=text,
            sources=_sources(cited),
            usage=usage,
            # A model that cites nothing where nothing was found has declined in its own words.
            declined=found.declined if own_words else found.declined and not cited,
            confidence=found.confidence,
            degraded=degraded,
        )


def _sources(cited: Sequence[CitedPassage]) -> tuple[Source, ...]:
    return tuple(Source(c.marker, c.document_id, c.ordinal, c.score, c.title) for c in cited)
