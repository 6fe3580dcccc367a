"""The answerer that is always there: retrieves from the tenant's knowledge, and quotes it."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from infra.inference.encoder import Encoder
from processors.analysis.redaction import RedactionHoldback
from processors.answering.dense import Vectors
from processors.answering.grounded import GroundedAnswer, interpret, prepare
from processors.answering.grounding import GroundingModel
from schemas.parts import Usage
from streams.answering.turns import Answer, Question, Say, Source
from streams.knowledge import IndexOf

MODEL = "grounded"
_PIECES = re.compile(r"\s*\S+(?:\s+\S+){0,2}")
"""Three words at a time: each piece costs a record, and nobody reads single words."""


class GroundedAnswerer:
    """Answers from passages, or says that it does not know. Needs no model provider.

    `pace_ms` waits between pieces, for people who want to watch.
    """

    def __init__(
        self, encoder: Encoder, index_of: IndexOf, calibration: GroundingModel, *, pace_ms: float
    ) -> None:
        self._encoder = encoder
        self._index_of = index_of
        self._calibration = calibration
        self._pace_s = pace_ms / 1000
        # One session, one thread; never on the event loop.
        self._thread = ThreadPoolExecutor(1, "embed-query")

    async def find(self, question: Question) -> GroundedAnswer:
        """The grounded answer, and the passages for anybody's prompt."""
        texts = prepare(question.context)
        loop = asyncio.get_running_loop()
        embeddings: Vectors = await loop.run_in_executor(
            self._thread, lambda: self._encoder.encode(texts).embeddings
        )
        index = self._index_of(question.tenant_id)
        return interpret(texts, embeddings, index, question.context, self._calibration)

    async def answer(self, question: Question, say: Say) -> Answer:
        """See `Answerer.answer`. Never raises `Interrupted`."""
        return await self.speak(await self.find(question), say)

    async def speak(
        self, found: GroundedAnswer, say: Say, degraded: tuple[str, ...] = ()
    ) -> Answer:
        """Streams a grounded answer, redacted like everybody's."""
        said: list[str] = []
        holdback = RedactionHoldback()

        async def out(text: str) -> None:
            if text:
                said.append(text)
                await say(text)

        end = 0
        for match in _PIECES.finditer(found.text):
            end = match.end()
            await out(holdback.feed(match.group()))
            if self._pace_s:
                await asyncio.sleep(self._pace_s)
        await out(holdback.feed(found.text[end:]) + holdback.finish())
        return Answer(
            text="".join(said),
            sources=tuple(
                Source(c.marker, c.document_id, c.ordinal, c.score, c.title)
                for c in found.citations
            ),
            usage=Usage(MODEL, MODEL, 0, 0, 0),
            declined=found.declined,
            confidence=found.confidence,
            degraded=degraded,
        )
