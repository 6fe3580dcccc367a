"""The OpenAI-compatible provider against a real HTTP server that also misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from infra.providers import (
    Endpoint,
    FallbackProvider,
    Finish,
    GenerationRequest,
    GroundedProvider,
    Interrupted,
    Message,
    OpenAICompatible,
    Piece,
    Prices,
    Provider,
    RateLimited,
    Rejected,
    TextDelta,
    Timeouts,
    Unavailable,
    Usage,
)

KEY = "sk-secret-of-the-tests"
REQUEST = GenerationRequest((Message("user", "How do I top up?"),), grounded="From the articles.")
QUICK = Timeouts(connect_ms=500, first_token_ms=400, idle_ms=300, total_ms=5_000)

Script = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def chunk(text: str | None = None, **fields: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": fields.pop("finish_reason", None)}
    return b"data: " + json.dumps({"choices": [choice], **fields}).encode() + b"\n\n"


USAGE = (
    b'data: {"choices": [], "model": "m-2025", '
    b'"usage": {"prompt_tokens": 1200, "completion_tokens": 34}}\n\n'
)
DONE = b"data: [DONE]\n\n"
WHOLE = chunk("Open ") + chunk("the app.") + chunk(finish_reason="stop") + USAGE + DONE


@dataclass
class Server:
    """One endpoint whose answer each test writes, and what it was asked."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    script: Script | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    asked_with: list[str | None] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left_early: asyncio.Event = field(default_factory=asyncio.Event)

    def sends(self, *parts: bytes | float) -> None:
        """Sends the bytes one after the other; a number is a pause in seconds."""

        async def script(_: web.Request, response: web.StreamResponse) -> None:
            for part in parts:
                if isinstance(part, bytes):
                    await response.write(part)
                else:
                    await asyncio.sleep(part)

        self.script = script

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.asked.set()
        self.asked_with.append(request.headers.get("Authorization"))
        self.connections.add(request.transport)
        response = web.StreamResponse(status=self.status, headers=self.headers)
        response.content_type = self.content_type
        await response.prepare(request)
        assert self.script is not None
        try:
            await self.script(request, response)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.left_early.set()
            raise
        return response


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, path: str = "/chat/completions") -> AsyncIterator[str]:
    """Serves one path on a free port; gives the address before it."""
    app = web.Application()
    app.router.add_post(path, handler)
    # Cancelling the handler when its client goes is how the tests see a closed connection.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    server.sends(WHOLE)
    async with serving(server.handle, "/v1/chat/completions") as address:
        server.url = f"{address}/v1"
        yield server


@asynccontextmanager
async def provider_for(server: Server, timeouts: Timeouts = QUICK) -> AsyncIterator[Provider]:
    endpoint = Endpoint(server.url, "m", KEY, Prices.of(0.15, 0.6))
    provider = OpenAICompatible(endpoint, timeouts)
    try:
        yield provider
    finally:
        await provider.close()


async def pieces_of(provider: Provider, request: GenerationRequest = REQUEST) -> list[Piece]:
    async with aclosing(provider.stream(request)) as stream:
        return [piece async for piece in stream]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))


async def test_text_comes_in_pieces_then_usage_with_its_exact_cost_then_the_end(
    server: Server,
) -> None:
    async with provider_for(server) as provider:
        pieces = await pieces_of(provider)
    assert pieces == [
        TextDelta("Open "),
        TextDelta("the app."),
        Usage("openai", "m-2025", 1200, 34, Decimal("0.0002004")),
        Finish("stop"),
    ]
    assert pieces[2].cost_nano_usd == 200_400
    assert server.asked_with == [f"Bearer {KEY}"]
    assert server.bodies[0]["stream"] is True
    assert server.bodies[0]["stream_options"] == {"include_usage": True}
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "How do I top up?"}]


async def test_a_stream_cut_into_single_bytes_is_read_the_same(server: Server) -> None:
    whole = chunk("Zürich — ") + b": keep-alive\r\n\r\n" + chunk("£5") + WHOLE
    server.sends(*(whole[at : at + 1] for at in range(len(whole))))
    async with provider_for(server) as provider:
        assert text_of(await pieces_of(provider)) == "Zürich — £5Open the app."


async def test_the_connection_of_a_finished_answer_serves_the_next(server: Server) -> None:
    async with provider_for(server) as provider:
        for _ in range(3):
            await pieces_of(provider)
    assert len(server.connections) == 1


async def test_an_answer_is_whole_when_only_the_done_mark_is_missing(server: Server) -> None:
    server.sends(chunk("Yes."), chunk(finish_reason="length"))
    async with provider_for(server) as provider:
        pieces = await pieces_of(provider)
    assert text_of(pieces) == "Yes."
    assert pieces[-1] == Finish("length")
    assert isinstance(pieces[-2], Usage)
    assert pieces[-2].estimated


async def test_a_stream_that_ends_in_the_middle_is_interrupted(server: Server) -> None:
    server.sends(chunk("Open the"))
    async with provider_for(server) as provider:
        with pytest.raises(Interrupted, match="ended its stream in the middle"):
            await pieces_of(provider)


async def test_a_connection_that_is_torn_down_in_the_middle_is_interrupted(server: Server) -> None:
    async def torn(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(chunk("Open the"))
        assert request.transport is not None
        request.transport.abort()

    server.script = torn
    async with provider_for(server) as provider:
        with pytest.raises(Interrupted):
            await pieces_of(provider)


async def test_a_stream_that_ends_before_any_text_is_unavailable(server: Server) -> None:
    server.sends(b": hello\n\n")
    async with provider_for(server) as provider:
        with pytest.raises(Unavailable):
            await pieces_of(provider)


async def test_no_text_within_the_first_token_timeout_is_unavailable_despite_keep_alives(
    server: Server,
) -> None:
    server.sends(*([b": keep-alive\n\n", 0.05] * 40))
    async with provider_for(server) as provider:
        with pytest.raises(Unavailable, match="silent"):
            await pieces_of(provider)


async def test_no_headers_within_the_first_token_timeout_is_unavailable(server: Server) -> None:
    hold = asyncio.Event()

    async def handle(_: web.Request) -> web.Response:
        await hold.wait()
        return web.Response()

    async with serving(handle) as server.url, provider_for(server) as provider:
        with pytest.raises(Unavailable, match="did not answer within 400 ms"):
            await pieces_of(provider)
    assert not hold.is_set()


async def test_silence_after_the_first_text_is_interrupted(server: Server) -> None:
    server.sends(chunk("Open"), 5.0)
    async with provider_for(server) as provider:
        with pytest.raises(Interrupted, match="silent"):
            await pieces_of(provider)


async def test_a_stream_that_never_ends_meets_the_total_timeout(server: Server) -> None:
    server.sends(*([chunk("on and on "), 0.05] * 200))
    timeouts = Timeouts(connect_ms=500, first_token_ms=400, idle_ms=300, total_ms=600)
    async with provider_for(server, timeouts) as provider:
        with pytest.raises(Interrupted):
            await asyncio.wait_for(pieces_of(provider), 5)


async def test_time_that_the_reader_takes_is_not_counted_as_silence(server: Server) -> None:
    server.sends(WHOLE)
    async with provider_for(server) as provider, aclosing(provider.stream(REQUEST)) as stream:
        texts = []
        async for piece in stream:
            if isinstance(piece, TextDelta):
                texts.append(piece.text)
                await asyncio.sleep(0.4)
    assert texts == ["Open ", "the app."]


@pytest.mark.parametrize("status", [500, 502, 503, 529, 408])
async def test_an_overloaded_server_is_unavailable(server: Server, status: int) -> None:
    server.status, server.content_type = status, "text/html"
    server.sends(b"<h1>Oops</h1>")
    async with provider_for(server) as provider:
        with pytest.raises(Unavailable, match=str(status)):
            await pieces_of(provider)


async def test_too_many_requests_say_when_to_come_back(server: Server) -> None:
    server.status, server.headers = 429, {"Retry-After": "7"}
    server.content_type = "application/json"
    server.sends(b'{"error": {"message": "slow down, bob", "code": "rate_limit_exceeded"}}')
    async with provider_for(server) as provider:
        with pytest.raises(RateLimited, match="rate_limit_exceeded") as caught:
            await pieces_of(provider)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize(("status", "advice"), [(401, "key"), (403, "key"), (404, "model 'm'")])
async def test_a_refusal_says_what_to_check(server: Server, status: int, advice: str) -> None:
    server.status, server.content_type = status, "application/json"
    server.sends(b'{"error": {"message": "no"}}')
    async with provider_for(server) as provider:
        with pytest.raises(Rejected, match=advice):
            await pieces_of(provider)


async def test_a_redirect_is_refused_because_the_key_would_follow_it(server: Server) -> None:
    server.status, server.headers = 307, {"Location": server.url + "/elsewhere"}
    server.sends(b"")
    async with provider_for(server) as provider:
        with pytest.raises(Rejected, match="307"):
            await pieces_of(provider)


async def test_a_web_page_with_status_200_is_refused(server: Server) -> None:
    server.content_type = "text/html"
    server.sends(b"<html>Welcome to our proxy</html>")
    async with provider_for(server) as provider:
        with pytest.raises(Rejected, match="text/html"):
            await pieces_of(provider)


@pytest.mark.parametrize("rubbish", [b"data: {oops\n\n", b"data: [1, 2]\n\n", b"data: \xff\n\n"])
async def test_garbage_is_unavailable_before_and_interrupted_after_text(
    server: Server, rubbish: bytes
) -> None:
    async with provider_for(server) as provider:
        server.sends(rubbish)
        with pytest.raises(Unavailable):
            await pieces_of(provider)
        server.sends(chunk("Open"), rubbish)
        with pytest.raises(Interrupted):
            await pieces_of(provider)


async def test_an_event_without_end_is_given_up(server: Server) -> None:
    server.sends(b"data: ", *([b"x" * 65536] * 20))
    async with provider_for(server) as provider:
        with pytest.raises(Unavailable, match="characters"):
            await pieces_of(provider)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (b'{"code": "rate_limit_exceeded"}', RateLimited),
        (b'{"type": "server_error"}', Unavailable),
        (b'{"type": "invalid_request_error"}', Rejected),
        (b'"out of memory"', Unavailable),
    ],
)
async def test_an_error_object_in_the_stream_is_understood(
    server: Server, error: bytes, expected: type[Exception]
) -> None:
    server.sends(b'data: {"error": ' + error + b"}\n\n")
    async with provider_for(server) as provider:
        with pytest.raises(expected) as caught:
            await pieces_of(provider)
    assert type(caught.value) is expected


async def test_parameters_that_a_server_does_not_take_are_left_out_from_then_on(
    server: Server,
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        for name in ("max_completion_tokens", "temperature"):
            if name in body:
                error = {"code": "unsupported_parameter", "param": name, "message": "no"}
                return web.json_response({"error": error}, status=400)
        return await server.handle(request)

    request = GenerationRequest(REQUEST.messages, max_output_tokens=50, temperature=0.2)
    async with serving(handle) as server.url, provider_for(server) as provider:
        assert text_of(await pieces_of(provider, request)) == "Open the app."
        assert text_of(await pieces_of(provider, request)) == "Open the app."
    assert [body.get("max_tokens") for body in server.bodies] == [50, 50]
    assert "temperature" not in server.bodies[-1]


async def test_leaving_the_stream_early_closes_the_connection(server: Server) -> None:
    server.sends(chunk("Open"), 30.0)
    async with provider_for(server) as provider:
        async with aclosing(provider.stream(REQUEST)) as stream:
            assert await anext(stream) == TextDelta("Open")
        await asyncio.wait_for(server.left_early.wait(), 5)


async def test_cancelling_the_turn_closes_the_connection(server: Server) -> None:
    server.sends(chunk("Open"), 30.0)
    timeouts = Timeouts(idle_ms=60_000)
    async with provider_for(server, timeouts) as provider:
        turn = asyncio.create_task(pieces_of(provider))
        await asyncio.wait_for(server.asked.wait(), 5)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        await asyncio.wait_for(server.left_early.wait(), 5)


async def test_an_address_where_nobody_listens_is_unavailable() -> None:
    provider = OpenAICompatible(Endpoint("http://127.0.0.1:9/v1", "m"), QUICK)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await pieces_of(provider)
    await provider.close()


@pytest.mark.parametrize(
    "url", ["not an address", "ftp://example.org", "", "http://", "http://me:hunter2@example.org"]
)
def test_something_that_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        Endpoint(url, "m")
    assert "hunter2" not in str(caught.value)


async def test_neither_key_nor_text_is_in_a_repr_an_error_or_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.status, server.content_type = 400, "application/json"
    words = "your prompt said How do I top up?"
    server.sends(json.dumps({"error": {"message": words, "code": words}}).encode())
    server.url += "?api-key=hunter2"
    async with provider_for(server) as provider:
        with pytest.raises(Rejected) as caught:
            await pieces_of(provider)
        shown = f"{caught.value!r} {provider!r} {REQUEST!r} {caplog.text}"
    for secret in (KEY, "hunter2", "top up"):
        assert secret not in shown


async def test_the_grounded_answer_stands_in_when_nothing_was_streamed(server: Server) -> None:
    server.status = 503
    server.sends(b"")
    async with provider_for(server) as first:
        pieces = await pieces_of(FallbackProvider(first, GroundedProvider()))
    assert text_of(pieces) == "From the articles."
    assert pieces[-1] == Finish("stop", ("provider_unavailable",))


async def test_an_interruption_is_left_to_the_caller_who_then_asks_for_the_fallback(
    server: Server,
) -> None:
    server.sends(chunk("Open the"))
    async with provider_for(server) as first:
        chain = FallbackProvider(first, GroundedProvider())
        with pytest.raises(Interrupted):
            await pieces_of(chain)
        again = GenerationRequest(REQUEST.messages, REQUEST.grounded, prefer_fallback=True)
        pieces = await pieces_of(chain, again)
    assert text_of(pieces) == "From the articles."
    assert len(server.bodies) == 1


async def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(server: Server) -> None:
    now = 0.0
    server.status = 500
    server.sends(b"")
    async with provider_for(server) as first:
        chain = FallbackProvider(first, GroundedProvider(), clock=lambda: now)
        for _ in range(5):
            assert text_of(await pieces_of(chain)) == "From the articles."
        assert len(server.bodies) == 3
        assert chain.resting
        now += 16.0
        server.status = 200
        server.sends(WHOLE)
        assert text_of(await pieces_of(chain)) == "Open the app."


async def test_after_too_many_requests_the_chain_waits_as_long_as_it_was_told(
    server: Server,
) -> None:
    now = 0.0
    server.status, server.headers = 429, {"Retry-After": "30"}
    server.sends(b"")
    async with provider_for(server) as first:
        chain = FallbackProvider(first, GroundedProvider(), clock=lambda: now)
        await pieces_of(chain)
        now = 29.0
        await pieces_of(chain)
        assert len(server.bodies) == 1
        now = 31.0
        await pieces_of(chain)
        assert len(server.bodies) == 2
