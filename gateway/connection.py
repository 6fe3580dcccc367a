"""One socket: reads frames in order, keeps time, and ends with a verdict.

What frames do is the session's, writing is the outbox's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import web

from gateway import replies
from gateway.auth import Caller
from gateway.close_codes import (
    BAD_FRAME,
    NO_HELLO,
    NO_PONG,
    RESUBSCRIBE,
    TOKEN_EXPIRED,
    TOO_SLOW,
    CloseCode,
)
from gateway.frames import ClientFrame, FrameRefused, Hello, Pong, parse
from gateway.handshake import as_hello, contact, identify
from gateway.outbox import Outbox
from gateway.refusals import Ended, Refused
from gateway.services import Services
from gateway.session import Session
from gateway.stopping import stop

_LOG = logging.getLogger(__name__)

AUTH_DUE_S = 60.0
AUTH_GRACE_S = 25.0
CLOSE_S = 5.0
"""How long a closing socket may take to say goodbye."""


class Connection:
    """A socket from the upgrade to its end."""

    def __init__(
        self, services: Services, ws: web.WebSocketResponse[Any], transport: asyncio.Transport
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._ws = ws
        self._transport = transport
        self._outbox = Outbox(self._write, self._buffered, unsent_bytes=self._settings.unsent_bytes)
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._verdict: tuple[CloseCode, str] | None = None
        self._ended = asyncio.Event()
        now = time.monotonic()
        self._ping_at = now + self._settings.ping_ms / 1000
        self._pong_by: float | None = None
        self._progress = (0, now)
        self._auth_due_for = 0.0

    # Life

    async def run(self, caller: Caller | None) -> None:
        """Serves the socket until it ends. `caller` came with the upgrade, if anyone did."""
        writer = asyncio.create_task(self._outbox.run(), name="writer")
        self._task = asyncio.current_task()
        try:
            await self._serve(caller)
        except Ended as ended:
            self._judge(ended.close, ended.reason)
        except (ConnectionError, aiohttp.ClientError):
            _LOG.debug("a socket was lost")
        except Exception:
            _LOG.exception("a socket broke")
            self._judge(RESUBSCRIBE)
        except asyncio.CancelledError:
            # `end` interrupts the reading this way; any other cancellation goes on.
            if self._verdict is None or self._task is None or self._task.uncancel():
                raise
        finally:
            self._task = None
            if self._session is not None:
                self._session.close()
            if self._verdict is not None:
                await self._goodbye(*self._verdict)
            self._outbox.close()
            await stop(writer)
            self._ended.set()

    async def _serve(self, upgraded_as: Caller | None) -> None:
        hello = await self._hello()
        if hello is None:
            return
        caller = await identify(hello, upgraded_as, self._services.verifier)
        author = await contact(caller, self._services.sealer)
        who = (author.tenant_id, author.identity.subject)
        with self._services.socket_limit.hold(who):
            session = Session(self._services, self._outbox, caller, author, on_broken=self._broken)
            self._session = session
            session.welcome(uuid4().hex)
            for position in hello.subs:
                try:
                    session.subscribe(None, position)
                except Refused as refused:
                    session.refuse(None, refused, position.c)
            await self._read(session)

    async def _hello(self) -> Hello | None:
        try:
            async with asyncio.timeout(self._settings.hello_ms / 1000):
                frame = await self._receive()
        except TimeoutError:
            raise Ended(NO_HELLO, "hello did not come in time") from None
        except FrameRefused as refused:
            raise Ended(NO_HELLO, refused.message) from None
        return None if frame is None else as_hello(frame)

    async def _read(self, session: Session) -> None:
        while True:
            # Who reads nothing does not get to send without end.
            await self._outbox.room()
            if self._verdict is not None:
                return
            try:
                frame = await self._receive()
            except FrameRefused as refused:
                session.refuse(refused.frame_id, refused)
                continue
            if frame is None:
                return
            if isinstance(frame, Pong):
                self._pong_by = None
            await session.take(frame)

    async def _receive(self) -> ClientFrame | None:
        """The next frame, None at the end. Raises `Ended` or `FrameRefused`."""
        message = await self._ws.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            frame = parse(message.data)
            self._services.frame_counts.received(frame.kind)
            return frame
        if message.type is aiohttp.WSMsgType.BINARY:
            raise Ended(BAD_FRAME, "binary frames are not part of the protocol")
        return None

    async def _write(self, frame: bytes) -> None:
        await self._ws.send_frame(frame, aiohttp.WSMsgType.TEXT)
        self._services.frame_counts.sent(frame)

    def _buffered(self) -> int:
        return self._transport.get_write_buffer_size()

    def _broken(self) -> None:
        self.end(RESUBSCRIBE)

    # Ending

    def end(self, close: CloseCode, reason: str = "", after_ms: int | None = None) -> None:
        """Says goodbye and closes; once."""
        if self._verdict is None and self._task is not None:
            self._judge(close, reason, after_ms)
            self._task.cancel()

    def _judge(self, close: CloseCode, reason: str = "", after_ms: int | None = None) -> None:
        if self._verdict is not None:
            return
        self._services.metrics.closed.labels(str(close.code)).inc()
        self._verdict = (close, reason or close.reason)
        self._outbox.put(replies.bye(close, reason or close.reason, after_ms))
        self._outbox.close()

    async def send_away(self, close: CloseCode, after_ms: int) -> None:
        """Ends once the commands that are on their way have their answer."""
        if self._session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._session.settled()
        self.end(close, after_ms=after_ms)
        await self._ended.wait()

    async def _goodbye(self, close: CloseCode, reason: str) -> None:
        """Bounded, since a client that reads nothing would keep both waits for ever."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._outbox.drained()
                # A close frame holds 123 bytes of reason at most.
                await self._ws.close(code=close.code, message=reason.encode()[:120])
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            _LOG.debug("a socket ended without goodbye")
            self._transport.abort()
        if self._buffered():
            self._transport.abort()

    # Time

    def tick(self, now: float) -> None:
        """Looks at what is due: stalls, pings, pongs and the token's end. `now` is monotonic."""
        if self._verdict is not None:
            return
        if self._stalled(now):
            self.end(TOO_SLOW)
        elif self._pong_by is not None and now > self._pong_by:
            self.end(NO_PONG)
        elif self._session is not None:
            self._tick_token(self._session.caller)
            self._tick_ping(now)

    def _stalled(self, now: float) -> bool:
        left, since = self._progress
        if self._outbox.left != left or self._outbox.unsent == 0:
            self._progress = (self._outbox.left, now)
            return False
        return now - since > self._settings.stalled_ms / 1000

    def _tick_ping(self, now: float) -> None:
        # A ping behind a full outbox would blame the client for what it was not given.
        if now < self._ping_at or self._pong_by is not None or self._outbox.full:
            return
        self._ping_at = now + self._settings.ping_ms / 1000
        self._pong_by = now + self._settings.pong_ms / 1000
        self._outbox.put(replies.PING)

    def _tick_token(self, caller: Caller) -> None:
        left_s = caller.expires_at - time.time()
        if left_s < -AUTH_GRACE_S:
            self.end(TOKEN_EXPIRED)
        elif left_s < AUTH_DUE_S and self._auth_due_for != caller.expires_at:
            self._auth_due_for = caller.expires_at
            self._outbox.put(replies.auth_due(max(0, round(left_s * 1000))))
