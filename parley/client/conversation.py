"""One conversation as a client follows it: apply frames, ask, wait, iterate."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from parley.client.cursor import Applied, Cursor
from parley.client.exchange import Exchange
from parley.client.failures import CommandRefused, ConversationRefused

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A ULID: 48 bits of milliseconds and 80 random bits, so ids sort by time."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


OnItem = Callable[[Applied], None]


class Line(Protocol):
    """What carries a conversation's frames: a socket that connects again by itself."""

    async def command(self, frame: dict[str, Any]) -> Mapping[str, Any]:
        """Sends a command until it is acknowledged; returns the `ok` frame."""
        ...

    def drop(self, conversation: Conversation) -> None:
        """Stops following."""
        ...


class Conversation:
    """A conversation that is followed over a line."""

    def __init__(
        self,
        conversation_id: str,
        line: Line,
        cursor: Cursor | None = None,
        on_item: OnItem = lambda item: None,
    ) -> None:
        self.id = conversation_id
        self.cursor = cursor or Cursor()
        self.head = 0
        self._line = line
        self._on_item = on_item
        self._exchanges: dict[str, Exchange] = {}
        self._queues: list[asyncio.Queue[Applied | None]] = []
        self._subscribed = asyncio.Event()
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"Conversation({self.id}, seq {self.cursor.seq})"

    # Speaking

    async def ask(self, text: str, mid: str | None = None) -> Exchange:
        """Says something and waits for the end of its turn. Raises as `send` does."""
        exchange = await self.send(text, mid)
        await exchange.finished.wait()
        self._raise()
        return exchange

    async def send(self, text: str, mid: str | None = None) -> Exchange:
        """Says something; returns once it is durable. The exchange goes on by itself.

        Raises `CommandRefused` and `GatewayClosed`.
        """
        mid = mid or new_id()
        exchange = self._exchanges[mid] = Exchange(mid)
        try:
            await self._line.command(
                {"t": "send", "c": self.id, "mid": mid, "body": {"text": text}}
            )
        except CommandRefused:
            del self._exchanges[mid]
            raise
        exchange.ok_at = time.perf_counter()
        return exchange

    # A command that is given an id may be repeated under it: it takes effect once.

    async def cancel(self, turn: str, mid: str | None = None) -> None:
        """Stops an answer."""
        frame = {"t": "cancel", "c": self.id, "mid": mid or new_id(), "turn": turn}
        await self._line.command(frame)

    async def feedback(
        self, turn: str, score: int, comment: str | None = None, mid: str | None = None
    ) -> None:
        """Rates an answer with -1 or 1."""
        frame = {"t": "feedback", "c": self.id, "mid": mid or new_id(), "turn": turn}
        more: dict[str, Any] = {"comment": comment} if comment else {}
        await self._line.command({**frame, "score": score, **more})

    async def close(self, mid: str | None = None) -> None:
        """Ends the conversation for good."""
        await self._line.command({"t": "close", "c": self.id, "mid": mid or new_id()})

    # Listening

    async def subscribed(self) -> None:
        """Waits until the gateway follows. Raises `ConversationRefused` or `GatewayClosed`."""
        await self._subscribed.wait()
        self._raise()

    def items(self) -> AsyncIterator[Applied]:
        """Everything that is applied after this call, until the conversation is left.

        What a subscription replays may come earlier; `on_item` of `Client.conversation` has all.
        """
        queue: asyncio.Queue[Applied | None] = asyncio.Queue()
        self._queues.append(queue)
        return self._iterate(queue)

    async def _iterate(self, queue: asyncio.Queue[Applied | None]) -> AsyncIterator[Applied]:
        try:
            while (item := await queue.get()) is not None:
                yield item
            self._raise()
        finally:
            self._queues.remove(queue)

    def leave(self) -> None:
        """Stops following; the conversation itself goes on."""
        self._line.drop(self)
        self._stop()

    # For the line

    def take(self, frame: Mapping[str, Any]) -> None:
        """Applies a frame of this conversation. Raises `Gap`."""
        if frame["t"] == "subbed":
            self.head = frame["head"]
        item = self.cursor.apply(frame)
        if frame["t"] == "subbed":
            self._subscribed.set()
        if item is None:
            return
        self._on_item(item)
        for mid, exchange in list(self._exchanges.items()):
            exchange.apply(item)
            if exchange.outcome is not None:
                del self._exchanges[mid]
        for queue in self._queues:
            queue.put_nowait(item)

    def refuse(self, code: str, message: str) -> None:
        """The gateway does not let us follow."""
        self.fail(ConversationRefused(code, message))

    def fail(self, failure: Exception) -> None:
        """Ends everything that waits here with a failure."""
        self._failure = failure
        self._stop()

    def _stop(self) -> None:
        self._subscribed.set()
        for exchange in self._exchanges.values():
            exchange.finished.set()
        for queue in self._queues:
            queue.put_nowait(None)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
