"""One socket that connects again by itself, repeats what was not acknowledged, and resumes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from parley.client.conversation import Conversation
from parley.client.cursor import Gap
from parley.client.failures import CommandRefused, GatewayClosed

_LOG = logging.getLogger(__name__)

BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0
SILENCE_PINGS = 2.5
"""A socket that is silent for this many ping intervals is dead."""

TokenSource = Callable[[], Awaitable[str]]


@dataclass(slots=True)
class _Pending:
    """A command without its `ok`."""

    frame: dict[str, Any]
    done: asyncio.Future[Mapping[str, Any]]
    tries: int = field(default=0)


class SocketLine:
    """A line over WebSocket (`parley.client.conversation.Line`)."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: TokenSource) -> None:
        self._session = session
        self._url = url
        self._token = token
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._conversations: dict[str, Conversation] = {}
        self._behind: set[str] = set()
        """Conversations with a gap; their frames mean nothing until the next `subbed`."""
        self._ws: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._silence_s = 60.0
        self._failure: GatewayClosed | None = None
        self._wait_ms = 0
        self._closing = False
        self.reconnects = 0
        self.ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="gateway line")
        self._errands: set[asyncio.Task[None]] = set()

    # For conversations

    @property
    def load(self) -> int:
        """Conversations on this line."""
        return len(self._conversations)

    def follow(self, conversation: Conversation) -> None:
        """Subscribes now and after every reconnect."""
        self._conversations[conversation.id] = conversation
        if self._failure is not None:
            conversation.fail(self._failure)
        elif self.ready.is_set():
            self._errand(self._subscribe(conversation))

    def drop(self, conversation: Conversation) -> None:
        """Stops following."""
        if self._conversations.pop(conversation.id, None) is not None and self.ready.is_set():
            self._errand(self._send({"t": "unsub", "id": next(self._ids), "c": conversation.id}))

    async def command(self, frame: dict[str, Any]) -> Mapping[str, Any]:
        """Sends a command until it is acknowledged."""
        if self._failure is not None:
            raise self._failure
        frame_id = next(self._ids)
        pending = _Pending({**frame, "id": frame_id}, asyncio.get_running_loop().create_future())
        self._pending[frame_id] = pending
        try:
            if self.ready.is_set():
                await self._send(pending.frame)
            return await pending.done
        finally:
            self._pending.pop(frame_id, None)

    async def close(self) -> None:
        """Ends the line."""
        self._closing = True
        for errand in self._errands:
            errand.cancel()
        if self._ws is not None:
            await self._ws.close()
        self._task.cancel()
        await asyncio.gather(self._task, *self._errands, return_exceptions=True)

    # The socket

    async def _run(self) -> None:
        failures = 0
        while not self._closing:
            try:
                failures = await self._connection(failures)
            except GatewayClosed as closed:
                self._fail(closed)
                return
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                _LOG.debug("the gateway is away: %s", type(error).__name__)
                failures += 1
            # Full jitter: clients that were cut off together must not come back together.
            pause_s = random.uniform(0, min(BACKOFF_S_MAX, BACKOFF_S * 2 ** min(failures, 8)))
            await asyncio.sleep(max(pause_s, self._wait_ms / 1000))
            self._wait_ms = 0
            self.reconnects += 1

    async def _connection(self, failures: int) -> int:
        """One connection from start to end. Returns the count of failures in a row."""
        try:
            async with self._session.ws_connect(
                self._url, protocols=("chat.v1",), compress=0, max_msg_size=0
            ) as ws:
                self._ws = ws
                await self._hello(ws)
                failures = 0
                await self._read(ws)
                self._judge(ws.close_code)
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (400, 401, 403, 404):
                raise GatewayClosed(error.status, "the gateway refused the connection") from None
            raise
        finally:
            self._ws = None
            self.ready.clear()
        return failures + 1

    async def _hello(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> None:
        await ws.send_str(_encode({"t": "hello", "v": 1, "token": await self._token()}))
        async with asyncio.timeout(15):
            while True:
                message = await ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self._judge(ws.close_code)
                    raise ConnectionResetError("the gateway did not welcome us")
                frame = orjson.loads(message.data)
                if frame["t"] == "welcome":
                    break
                self._take(frame)
        self._silence_s = frame["ping_ms"] / 1000 * SILENCE_PINGS
        self.ready.set()
        for conversation in list(self._conversations.values()):
            await self._subscribe(conversation)
        for pending in list(self._pending.values()):
            await self._send(pending.frame)

    async def _read(self, ws: aiohttp.ClientWebSocketResponse[bool]) -> None:
        while True:
            async with asyncio.timeout(self._silence_s):
                message = await ws.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self._take(orjson.loads(message.data))

    def _judge(self, code: int | None) -> None:
        """The close code is the verdict: 45xx must not come back."""
        if code is not None and 4500 <= code < 4600 and not self._closing:
            raise GatewayClosed(code, "the gateway refused us")

    def _fail(self, closed: GatewayClosed) -> None:
        self._failure = closed
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(closed)
        for conversation in self._conversations.values():
            conversation.fail(closed)

    async def _send(self, frame: dict[str, Any]) -> None:
        """What can't be sent now is sent after the next welcome."""
        ws = self._ws
        if ws is None or ws.closed:
            return
        try:
            await ws.send_str(_encode(frame))
        except (ConnectionError, aiohttp.ClientError):
            _LOG.debug("a frame was not sent: the connection is gone")

    async def _subscribe(self, conversation: Conversation) -> None:
        position = conversation.cursor.position()
        await self._send({"t": "sub", "id": next(self._ids), "c": conversation.id, **position})

    # Frames

    def _take(self, frame: dict[str, Any]) -> None:
        match frame["t"]:
            case "event" | "tokens" | "snapshot" | "subbed":
                self._apply(frame)
            case "ok":
                pending = self._pending.get(frame["id"])
                if pending is not None and not pending.done.done():
                    pending.done.set_result(frame)
            case "err":
                self._error(frame)
            case "ping":
                self._errand(self._send({"t": "pong"}))
            case "auth_due":
                self._errand(self._renew())
            case "bye":
                self._wait_ms = frame.get("after_ms", 0)
                if not frame["reconnect"]:
                    raise GatewayClosed(frame["code"], frame["reason"])

    def _apply(self, frame: dict[str, Any]) -> None:
        conversation = self._conversations.get(frame["c"])
        if conversation is None:
            return
        if frame["t"] == "subbed":
            self._behind.discard(conversation.id)
        elif conversation.id in self._behind:
            return
        try:
            conversation.take(frame)
        except Gap as gap:
            _LOG.info("%s: %s; subscribing again", conversation, gap)
            self._behind.add(conversation.id)
            self._errand(self._subscribe(conversation))

    def _error(self, frame: dict[str, Any]) -> None:
        frame_id = frame.get("id")
        pending = self._pending.get(frame_id) if isinstance(frame_id, int) else None
        if pending is not None:
            if frame["temporary"]:
                pending.tries += 1
                self._errand(self._again(pending, frame.get("retry_after_ms", 500)))
            elif not pending.done.done():
                pending.done.set_exception(CommandRefused(frame["code"], frame["message"]))
            return
        conversation = self._conversations.get(frame.get("c", ""))
        if conversation is None:
            return
        if frame["temporary"]:
            self._errand(self._resubscribe(conversation, frame.get("retry_after_ms", 500)))
        else:
            self._conversations.pop(conversation.id, None)
            conversation.refuse(frame["code"], frame["message"])

    async def _again(self, pending: _Pending, after_ms: int) -> None:
        await asyncio.sleep(after_ms / 1000 * random.uniform(1, 1 + 0.2 * min(5, pending.tries)))
        if not pending.done.done() and self.ready.is_set():
            await self._send(pending.frame)

    async def _resubscribe(self, conversation: Conversation, after_ms: int) -> None:
        await asyncio.sleep(after_ms / 1000)
        if conversation.id in self._conversations and self.ready.is_set():
            await self._subscribe(conversation)

    async def _renew(self) -> None:
        frame = {"t": "auth", "id": next(self._ids), "token": await self._token()}
        await self._send(frame)

    def _errand(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


def _encode(frame: dict[str, Any]) -> str:
    return orjson.dumps(frame).decode()
