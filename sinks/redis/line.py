"""One connection to Redis that carries the commands of many callers at once, in order.

redis-py connects and parses. Its pool lends a connection to one caller at a time, which for small
commands costs several times what they do; here everyone's commands share a connection, and those
of the same moment share a packet. Not for commands that block.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from sinks.redis.connection import SOCKET_TIMEOUT_S

Command = tuple[bytes | int | str, ...]


@dataclass(eq=False, slots=True)
class _Asked:
    """Commands that were sent, and what has come back."""

    wanted: int
    due_at: float
    done: asyncio.Future[list[Any]]
    answers: list[Any] = field(default_factory=list)


class Line:
    """Asks over a connection of its own, which is opened at the first command.

    Commands that meet a broken connection are sent once more over a new one, so every write must
    be one that may be repeated.
    """

    def __init__(self, redis: Redis, *, timeout_s: float = SOCKET_TIMEOUT_S) -> None:
        self._pool = redis.connection_pool
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._opening = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._asked: deque[_Asked] = deque()
        self._unsent: list[bytes] = []
        self._sending: set[asyncio.Future[None]] = set()
        self._watch: asyncio.TimerHandle | None = None

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers, in order; a refused command's is the `ResponseError` itself.

        Raises redis-py's `ConnectionError` and `TimeoutError` while Redis is away.
        """
        if not commands:
            return []
        # hiredis' stub knows tuples of one element only.
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        try:
            return await self._ask(packed)
        except exceptions.ConnectionError:
            return await self._ask(packed)

    async def ask_one(self, *command: bytes | int | str) -> Any:
        """The answer of one command. Raises `ResponseError` where it is refused."""
        (answer,) = await self.ask(command)
        if isinstance(answer, exceptions.ResponseError):
            raise answer
        return answer

    async def close(self) -> None:
        """Hangs up."""
        reading = self._reading
        self._drop(exceptions.ConnectionError("the line was closed"))
        if reading is not None:
            await asyncio.wait((reading,))

    async def _ask(self, packed: Sequence[bytes]) -> list[Any]:
        connection = self._connection or await self._open()
        loop = asyncio.get_running_loop()
        asked = _Asked(len(packed), loop.time() + self._timeout_s, loop.create_future())
        # Nothing may come between these two lines: answers are told apart by order.
        self._asked.append(asked)
        self._unsent += packed
        if self._watch is None:
            self._watch = loop.call_at(asked.due_at, self._look)
        if len(self._unsent) == len(packed):
            try:
                await asyncio.sleep(0)  # whoever else is about to ask in this moment joins
            except asyncio.CancelledError:
                asked.done.cancel()
                raise
            finally:
                # Others share the packet: a caller that gives up must not break it off.
                sending = asyncio.ensure_future(self._send(connection))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)
                await asyncio.shield(sending)
        return await asked.done

    async def _send(self, connection: AbstractConnection) -> None:
        if connection is not self._connection:
            return  # it broke meanwhile, and everybody knows
        packet, self._unsent = b"".join(self._unsent), []
        try:
            await connection.send_packed_command(packet, check_health=False)
        except BaseException as error:
            if connection is self._connection:
                self._drop(exceptions.ConnectionError(f"Redis hung up: {type(error).__name__}"))
            if not isinstance(error, exceptions.RedisError):
                raise

    async def _open(self) -> AbstractConnection:
        async with self._opening:
            if self._connection is not None:
                return self._connection
            # Without a timeout of its own, which would cost a task for each write; `_look` has one.
            options = {**self._pool.connection_kwargs, "socket_timeout": None}
            connection = self._pool.connection_class(**options)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()  # type: ignore[no-untyped-call]
            except TimeoutError as error:
                raise exceptions.TimeoutError("Redis does not greet") from error
            self._connection = connection
            self._reading = asyncio.create_task(self._read(connection), name="redis-line")
            return connection

    async def _read(self, connection: AbstractConnection) -> None:
        """Takes answers in until the connection breaks; redis-py closes it then."""
        try:
            while True:
                try:
                    answer = await connection.read_response(timeout=math.inf)
                except exceptions.ResponseError as error:
                    answer = error
                self._take(answer)
        except (exceptions.RedisError, OSError) as error:
            if connection is self._connection:
                self._drop(exceptions.ConnectionError(f"Redis hung up: {type(error).__name__}"))

    def _take(self, answer: Any) -> None:
        if not self._asked:
            raise exceptions.ConnectionError("an answer that nobody asked for")
        asked = self._asked[0]
        asked.answers.append(answer)
        if len(asked.answers) == asked.wanted:
            self._asked.popleft()
            if not asked.done.done():
                asked.done.set_result(asked.answers)

    def _look(self) -> None:
        """Hangs up on a server that owes an answer for too long."""
        self._watch = None
        if not self._asked:
            return
        loop, due_at = asyncio.get_running_loop(), self._asked[0].due_at
        if due_at > loop.time():
            self._watch = loop.call_at(due_at, self._look)
        else:
            self._drop(exceptions.TimeoutError(f"no answer within {self._timeout_s:g} s"))

    def _drop(self, error: Exception) -> None:
        """Forgets the connection; whoever waits on it gets the error."""
        self._connection = None
        waiting, self._asked = self._asked, deque()
        self._unsent = []
        for asked in waiting:
            if not asked.done.done():
                asked.done.set_exception(error)
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        self._reading = None
