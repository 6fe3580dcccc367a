"""A person's client: conversations spread over as few sockets as the gateway's limits allow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

import aiohttp

from parley.client.conversation import Conversation, OnItem, new_id
from parley.client.cursor import Cursor
from parley.client.line import SocketLine
from schemas.identifiers import is_client_id

SUBSCRIPTIONS_PER_SOCKET = 32


class Client:
    """Use it in an `async with` block.

    `token` is a token, or a function that gives a fresh one whenever it is needed. One client is
    one person; `sockets_max` bounds how many sockets it opens, each with 32 conversations.
    """

    def __init__(
        self,
        gateway_url: str,
        token: str | Callable[[], Awaitable[str]],
        *,
        sockets_max: int = 5,
    ) -> None:
        self._url = gateway_url.rstrip("/") + "/v1/ws"
        self._token = token
        self._sockets_max = sockets_max
        self._session: aiohttp.ClientSession | None = None
        self._lines: list[SocketLine] = []
        self._room = asyncio.Condition()

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(line.close() for line in self._lines))
        if self._session is not None:
            await self._session.close()

    @property
    def reconnects(self) -> int:
        """How often sockets had to connect again."""
        return sum(line.reconnects for line in self._lines)

    @property
    def lines(self) -> tuple[SocketLine, ...]:
        """The open lines."""
        return tuple(self._lines)

    async def conversation(
        self,
        conversation_id: str | None = None,
        cursor: Cursor | None = None,
        on_item: OnItem = lambda item: None,
    ) -> Conversation:
        """Follows a conversation (a new one by default), from a cursor if there is one.

        `on_item` is called with everything that is applied, from the first replayed event on.

        Waits for a free place when all sockets are full. Raises `ConversationRefused` and
        `GatewayClosed`, and `ValueError` for an id that no conversation can have.
        """
        if conversation_id is not None and not is_client_id(conversation_id):
            raise ValueError(f"{conversation_id!r} can't name a conversation")
        async with self._room:
            await self._room.wait_for(self._has_place)
            line = self._line()
            conversation = Conversation(conversation_id or new_id(), line, cursor, on_item)
            line.follow(conversation)
        await conversation.subscribed()
        return conversation

    async def leave(self, conversation: Conversation) -> None:
        """Stops following and gives the place to the next one that waits."""
        conversation.leave()
        async with self._room:
            self._room.notify()

    def _has_place(self) -> bool:
        return len(self._lines) < self._sockets_max or any(
            line.load < SUBSCRIPTIONS_PER_SOCKET for line in self._lines
        )

    def _line(self) -> SocketLine:
        for line in self._lines:
            if line.load < SUBSCRIPTIONS_PER_SOCKET:
                return line
        if self._session is None:
            raise RuntimeError("use the client in an `async with` block")

        line = SocketLine(self._session, self._url, self._fresh_token)
        self._lines.append(line)
        return line

    async def _fresh_token(self) -> str:
        return self._token if isinstance(self._token, str) else await self._token()
