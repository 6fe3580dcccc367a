"""Streams chat completions from any server that speaks OpenAI's protocol.

`POST {base_url}/chat/completions` with `stream` and `stream_options.include_usage`. What the
answers mean is read in `chat_completions`; this module keeps the connection and the clocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from infra.providers.chat_completions import (
    Failure,
    Reply,
    failure_of_body,
    request_body,
    retry_after_s,
    unsupported_parameter,
)
from infra.providers.deadlines import Clock, Timeouts
from infra.providers.errors import Interrupted, ProviderError, RateLimited, Rejected, Unavailable
from infra.providers.port import Finish, GenerationRequest, Piece, TextDelta, Usage
from infra.providers.prices import Prices
from infra.providers.server_sent_events import EventReader, EventTooLong

_ERROR_BODY_BYTES_MAX = 64 * 1024
# Servers send the end together with the last event; those that do not are not waited for.
_DRAIN_S = 0.02
_OVERLOADED = frozenset((408, 425, 500, 502, 503, 504, 520, 522, 524, 529))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, for which model, and at what price. Secrets are never shown.

    Raises `ValueError` where the base URL is no address, or has a password in it.
    """

    base_url: str
    model: str
    api_key: str | None = None
    prices: Prices = field(default_factory=Prices)

    def __post_init__(self) -> None:
        try:
            url = URL(self.base_url)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("the provider's base URL is no http or https address: check it")
        if url.user is not None or url.password is not None:
            raise ValueError("the provider's base URL holds a password: use the API key instead")

    def __repr__(self) -> str:
        key = "set" if self.api_key else "none"
        return f"Endpoint({self.place!r}, model={self.model!r}, api_key={key})"

    @property
    def url(self) -> str:
        """The address of chat completions."""
        base = URL(self.base_url)
        path = base.path.rstrip("/")
        if not path.endswith("/chat/completions"):
            path += "/chat/completions"
        return str(base.with_path(path).with_query(base.query))

    @property
    def place(self) -> str:
        """The address without its query, where some services want a key."""
        return self.url.partition("?")[0]


class OpenAICompatible:
    """A provider over HTTP. Create it and use it on one event loop; `close` it in the end."""

    name = "openai"

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts | None = None):
        self.endpoint = endpoint
        self.timeouts = timeouts or Timeouts()
        # Parameters that this server refused before, so that it is not asked with them again.
        self._refused: frozenset[str] = frozenset()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"OpenAICompatible({self.endpoint!r})"

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece, None]:
        """Raises `Unavailable`, `RateLimited` or `Rejected` before, `Interrupted` after text."""
        clock = Clock(self.timeouts)
        began = False
        response = await self._ask(request, clock)
        reply = Reply()
        try:
            async with aclosing(self._texts(response, reply, clock)) as texts:
                async for text in texts:
                    began = True
                    yield TextDelta(text)
        except ProviderError as error:
            if not began:
                raise
            raise Interrupted(f"after the first text: {error}") from error
        finally:
            # Closing, not releasing: a stream that is left early must stop costing money.
            response.close()
        yield self._usage(request, reply)
        yield Finish(reply.reason or "stop")

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # Asking

    async def _ask(self, request: GenerationRequest, clock: Clock) -> aiohttp.ClientResponse:
        """The response whose stream may be read, status 200."""
        while True:
            # Other turns may learn something meanwhile, so what this one left out is kept.
            refused = self._refused
            body = request_body(self.endpoint.model, request, refused)
            response = await self._post(body, clock)
            if response.status == 200:
                return await self._checked(response, clock)
            try:
                answer = await self._error_body(response, clock)
            finally:
                response.close()
            parameter = unsupported_parameter(response.status, answer)
            if parameter is None or parameter in refused:
                raise self._error_of(response, failure_of_body(answer))
            self._refused |= {parameter}

    async def _post(self, body: dict[str, Any], clock: Clock) -> aiohttp.ClientResponse:
        try:
            async with clock.until_first_text():
                try:
                    return await self._sent(body)
                except aiohttp.ServerDisconnectedError:
                    # A kept connection that the server had given up in the meantime.
                    return await self._sent(body)
        except aiohttp.ConnectionTimeoutError:
            raise Unavailable(
                f"{self.endpoint.place} took no connection within {self.timeouts.connect_ms} ms"
            ) from None
        except TimeoutError:
            raise Unavailable(
                f"{self.endpoint.place} did not answer within {clock.first_text_ms} ms"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"{self.endpoint.place} cannot be reached ({type(error).__name__})"
            ) from None

    async def _sent(self, body: dict[str, Any]) -> aiohttp.ClientResponse:
        headers = {"Accept": "text/event-stream"}
        if self.endpoint.api_key:
            headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
        return await self._opened().post(
            self.endpoint.url,
            json=body,
            headers=headers,
            # Following a redirect would carry the key to an address nobody chose.
            allow_redirects=False,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # How many turns run at once is bounded by the caller.
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.timeouts.connect_ms / 1000
                ),
            )
        return self._session

    async def _checked(
        self, response: aiohttp.ClientResponse, clock: Clock
    ) -> aiohttp.ClientResponse:
        """Refuses a 200 that is no stream: a page of some proxy, or an error in disguise."""
        kind = response.content_type
        if kind in ("text/event-stream", "application/octet-stream", "text/plain"):
            return response
        try:
            failure = failure_of_body(await self._error_body(response, clock))
        finally:
            response.close()
        if failure.code or failure.kind:
            raise self._error_of(response, failure)
        raise Rejected(
            f"{self.endpoint.place} answered with {kind} instead of a stream: check the base URL"
        )

    async def _error_body(self, response: aiohttp.ClientResponse, clock: Clock) -> bytes:
        try:
            async with clock.until_first_text():
                return await response.content.read(_ERROR_BODY_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError):
            return b""  # the status alone decides then

    def _error_of(self, response: aiohttp.ClientResponse, failure: Failure) -> ProviderError:
        status = response.status
        where = f"{self.endpoint.place} answered {status}{failure.suffix}"
        if status == 429:
            wait = retry_after_s(response.headers.get("Retry-After"))
            return RateLimited(f"{where}: too many requests", wait)
        if status in _OVERLOADED:
            return Unavailable(f"{where}: try again later")
        if status in (401, 403):
            return Rejected(f"{where}: check the key and what it may use")
        if status == 404:
            return Rejected(f"{where}: check the base URL and the model {self.endpoint.model!r}")
        if status == 200:
            return failure.error(self.endpoint.place)
        return Rejected(f"{where}: the request does not suit this server")

    # Reading

    async def _texts(
        self, response: aiohttp.ClientResponse, reply: Reply, clock: Clock
    ) -> AsyncGenerator[str, None]:
        """The pieces of text, until the stream says that it is over."""
        reader = EventReader()
        while not reply.done:
            chunk = await self._chunk(response, clock)
            for event in self._events(reader, chunk):
                clock.heard()
                text = self._heard(reply, event)
                if text:
                    clock.first_text_came()
                    yield text
                    clock.heard()  # the time that the reader took is not the server's
            if not chunk:
                break
        if not reply.finished:
            raise Unavailable(f"{self.endpoint.place} ended its stream in the middle")
        await self._drained(response)

    async def _chunk(self, response: aiohttp.ClientResponse, clock: Clock) -> bytes:
        """The next bytes, empty at the end of the stream."""
        try:
            async with clock.until_next_event():
                return await response.content.readany()
        except TimeoutError:
            raise Unavailable(
                f"{self.endpoint.place} was silent for {clock.waited_ms} ms"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"{self.endpoint.place} broke the stream off ({type(error).__name__})"
            ) from None

    def _events(self, reader: EventReader, chunk: bytes) -> list[str]:
        try:
            return reader.feed(chunk) if chunk else reader.end()
        except EventTooLong as error:
            raise Unavailable(f"{self.endpoint.place} sent {error}") from None

    def _heard(self, reply: Reply, event: str) -> str:
        try:
            return reply.heard(event)
        except Failure as failure:
            raise failure.error(self.endpoint.place) from None
        except ValueError:
            # The event itself may hold text of the conversation, so it is not shown.
            raise Unavailable(f"{self.endpoint.place} sent an event that is no chunk") from None

    async def _drained(self, response: aiohttp.ClientResponse) -> None:
        """Reads the end of the response, so that its connection can serve the next request."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await response.content.read(_ERROR_BODY_BYTES_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return  # the answer is whole; the connection is closed instead

    def _usage(self, request: GenerationRequest, reply: Reply) -> Usage:
        input_tokens, output_tokens, estimated = reply.tokens(request)
        cost = self.endpoint.prices.cost_usd(input_tokens, output_tokens)
        model = reply.model or self.endpoint.model
        return Usage(self.name, model, input_tokens, output_tokens, cost, estimated)
