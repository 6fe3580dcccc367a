"""What waits to be sent to one client. One task writes; what a slow client may hold is bounded.

Relayed frames are refused when too much waits, since their sender can read them again later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Send = Callable[[bytes], Awaitable[None]]


class Outbox:
    """A queue of frames with a bound in bytes."""

    def __init__(self, send: Send, buffered: Callable[[], int], *, unsent_bytes: int) -> None:
        """`send` writes a frame to the transport, `buffered` says what the transport holds."""
        self._send = send
        self._buffered = buffered
        self._limit = unsent_bytes
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._taken = 0
        self._wake = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._empty = asyncio.Event()
        self._closed = False

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._queued + self._buffered()

    @property
    def left(self) -> int:
        """Bytes that have left this process; grows whenever the client makes progress."""
        return self._taken - self.unsent

    def put(self, frame: bytes) -> None:
        """Queues a frame of the connection itself, however much waits."""
        if not self._closed:
            self._queue.append(frame)
            self._queued += len(frame)
            self._taken += len(frame)
            self._wake.set()

    def offer(self, frame: bytes) -> bool:
        """Queues a relayed frame unless too much waits; False if it was not taken."""
        if self.unsent >= self._limit:
            self._roomy.clear()
            self._wake.set()
            return False
        self.put(frame)
        return True

    @property
    def full(self) -> bool:
        """Whether relayed frames are refused."""
        return self.unsent >= self._limit

    async def room(self) -> None:
        """Waits until at most half of the bound is unsent."""
        if self.full:
            self._roomy.clear()
        await self._roomy.wait()

    def close(self) -> None:
        """Takes nothing more; waiting callers of `room` go on."""
        self._closed = True
        self._roomy.set()
        self._wake.set()

    async def drained(self) -> None:
        """Waits until every queued frame was given to the transport."""
        if self._queue:
            self._empty.clear()
            await self._empty.wait()

    async def run(self) -> None:
        """The writer. Ends when cancelled or when the connection is lost."""
        while True:
            while self._queue:
                frame = self._queue.popleft()
                await self._send(frame)
                self._queued -= len(frame)
            self._empty.set()
            if not self._roomy.is_set():
                await self._wait_for_room()
                continue
            self._wake.clear()
            await self._wake.wait()

    async def _wait_for_room(self) -> None:
        """The transport may hold much although the queue is empty: look again soon."""
        if self.unsent <= self._limit // 2:
            self._roomy.set()
        else:
            await asyncio.sleep(0.01)
