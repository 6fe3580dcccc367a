"""A model provider that streams answers, and can fail, stall or break off when told to."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any

from aiohttp import web

PIECE_S = 0.02
STALL_S = 20.0
_CANARY = re.compile(r"canary-[a-z0-9-]+")


class Mood(StrEnum):
    """How the provider treats the next requests."""

    GOOD = "good"
    FAILING = "failing"
    SLOW = "slow"
    CUT = "cut"


@contextmanager
def model_provider() -> Iterator[StormProvider]:
    """A provider that runs beside the caller, on a thread of its own, until the block ends."""
    provider = StormProvider()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="provider", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.start(), loop).result(10)
        yield provider
    finally:
        asyncio.run_coroutine_threadsafe(provider.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class StormProvider:
    """An OpenAI-compatible endpoint on loopback; `mood` may be set from any thread.

    Answers repeat the canaries of the question, so that an answer that goes astray is noticed.
    """

    def __init__(self) -> None:
        self.mood = Mood.GOOD
        self.url = ""
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=1)

    async def start(self) -> None:
        """Listens on a free port."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Ends all connections."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if self.mood is Mood.FAILING:
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # whoever asked may be gone
            await response.prepare(request)
            await self._stream(request, response, _words(asked))
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, words: list[str]
    ) -> None:
        for number, word in enumerate(words):
            if self.mood is Mood.CUT and number > len(words) // 2:
                assert request.transport is not None
                request.transport.abort()
                return
            if self.mood is Mood.SLOW and number == 3:
                await asyncio.sleep(STALL_S)
            await response.write(_chunk({"content": word + " "}))
            await asyncio.sleep(PIECE_S)
        await response.write(_chunk({}, "stop") + b"data: [DONE]\n\n")


def _words(asked: dict[str, Any]) -> list[str]:
    question = str(asked["messages"][-1]["content"])
    canaries = sorted(set(_CANARY.findall(json.dumps(asked["messages"]))))
    return ["You", "asked", "about", *canaries, "and", "said", *question.split()[:12], "indeed."]


def _chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice], "model": "storm"}).encode() + b"\n\n"
