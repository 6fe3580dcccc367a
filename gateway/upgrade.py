"""From an HTTP request to a socket, or to a refusal that the client can see.

Browsers can't read the answer to a failed upgrade, so a request that offers the subprotocol is
upgraded and closed with a code; any other gets a plain HTTP status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from gateway import replies
from gateway.auth import SUBPROTOCOL, Caller, Offered, offered
from gateway.close_codes import BAD_TOKEN, DRAINING, FORBIDDEN, RATE, TOKEN_EXPIRED, CloseCode
from gateway.connection import CLOSE_S, Connection
from gateway.refusals import Ended
from gateway.services import Services
from schemas.failures import Unavailable

WRITER_LIMIT_BYTES = 32_768
RETRY_AFTER_S = 2
STATUSES = {BAD_TOKEN: 401, TOKEN_EXPIRED: 401, FORBIDDEN: 403, RATE: 429, DRAINING: 503}


class Door:
    """Lets sockets in and knows which are open."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.open: set[Connection] = set()
        self.draining = False

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """The handler of `/v1/ws`."""
        # Looked at before the upgrade: aiohttp logs subprotocols that it can't serve, and one of
        # them may carry a token. It reads the first of several headers only.
        headers = request.headers.getall("Sec-WebSocket-Protocol", ())
        names = tuple(name.strip() for header in headers for name in header.split(","))
        speaks = SUBPROTOCOL in names
        if not _is_upgrade(request):
            return _plain(426, "connect with a WebSocket", {"Upgrade": "websocket"})
        if names and not speaks:
            return _plain(400, f"offer the subprotocol {SUBPROTOCOL}")
        if len(headers) > 1:
            return _plain(400, "offer all subprotocols in one header")
        try:
            caller = await self._admit(
                request, offered(request.headers.get("Authorization"), names)
            )
        except Ended as ended:
            return await self._turn_away(request, speaks, ended)
        return await self._serve(request, speaks, caller)

    async def _admit(self, request: web.Request, offer: Offered) -> Caller | None:
        if self.draining:
            raise Ended(DRAINING)
        if not origin_allowed(
            request.headers.get("Origin"),
            request.host,
            self._services.settings.allowed_origins,
            has_cookies="Cookie" in request.headers,
        ):
            raise Ended(FORBIDDEN, "this origin is not on the list of the gateway")
        if offer.token is None:
            return None
        try:
            return await self._services.verifier.verify(offer.token)
        except Unavailable as error:
            raise Ended(DRAINING, str(error)) from None

    def _socket(self, speaks: bool) -> web.WebSocketResponse[Any]:
        return web.WebSocketResponse(
            protocols=(SUBPROTOCOL,) if speaks else (),
            compress=False,
            # aiohttp refuses what reaches this size, and we what goes beyond ours.
            max_msg_size=self._services.settings.frame_bytes + 1,
            writer_limit=WRITER_LIMIT_BYTES,
            timeout=CLOSE_S,
            decode_text=False,
        )

    async def _serve(
        self, request: web.Request, speaks: bool, caller: Caller | None
    ) -> web.StreamResponse:
        ws = self._socket(speaks)
        await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws
        connection = Connection(self._services, ws, transport)
        self.open.add(connection)
        gauge = self._services.metrics.connections.labels("ws")
        gauge.inc()
        try:
            await connection.run(caller)
        finally:
            self.open.discard(connection)
            gauge.dec()
        return ws

    async def _turn_away(
        self, request: web.Request, speaks: bool, ended: Ended
    ) -> web.StreamResponse:
        self._services.metrics.closed.labels(str(ended.close.code)).inc()
        if not speaks:
            return refusal(ended.close, ended.reason)
        ws = self._socket(speaks)
        await ws.prepare(request)
        try:
            async with asyncio.timeout(CLOSE_S):
                await ws.send_frame(replies.bye(ended.close, ended.reason), aiohttp.WSMsgType.TEXT)
                await ws.close(code=ended.close.code, message=ended.reason.encode()[:120])
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
        return ws


def _is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


def refusal(close: CloseCode, reason: str) -> web.Response:
    """The HTTP answer that stands for a close code."""
    status = STATUSES.get(close, 400)
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _plain(status, reason, headers)


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=headers)


def origin_allowed(
    origin: str | None, host: str, allowed: Collection[str], *, has_cookies: bool
) -> bool:
    """Whether a page of this origin may connect: the gateway's own, or one on the list.

    Programs send none; a browser that sends cookies always does, so cookies without an origin
    are refused.
    """
    if origin is None:
        return not has_cookies
    if origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host
