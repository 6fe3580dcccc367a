"""Live frames from Redis: one Pub/Sub connection for the whole process, fanned out in memory.

A listener that may have missed something is told to catch up; nothing is ever guessed here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import orjson
from redis.asyncio.connection import AbstractConnection

from gateway.read_model import Logged, logged_from
from gateway.stopping import stop
from gateway.token_merge import Stretch, TokenMerge
from sinks.redis.keys import ConversationKeys

_LOG = logging.getLogger(__name__)

QUIET_S = 10.0
"""Without a message for this long, the connection is asked whether it lives."""
SILENT_S = 3 * QUIET_S
RETRY_S_MAX = 2.0
CHANNELS_AT_ONCE = 256


class Listener(Protocol):
    """A subscription of one socket."""

    def on_event(self, event: Logged) -> None:
        """An event, in the order of the log, but perhaps not the next one."""

    def on_stretch(self, stretch: Stretch) -> None:
        """A stretch of an answer, perhaps not the next one."""

    def on_attached(self) -> None:
        """From now on everything arrives; something may be missing before."""


class Feed:
    """The live frames of one conversation and who listens to them here."""

    def __init__(self, conversation: str, *, merge_s: float, merge_bytes: int) -> None:
        self.listeners: set[Listener] = set()
        self.attached = asyncio.Event()
        self._new_merge = partial(TokenMerge, conversation, wait_s=merge_s, bytes_max=merge_bytes)
        self._merge = self._new_merge()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def ring(self, frame: bytes) -> None:
        """A message of the conversation's channel; after one that can't be read all catch up."""
        try:
            self._take(orjson.loads(frame), frame)
        except Exception as error:
            # The error's own words may quote the frame, so only its kind is logged.
            _LOG.warning("a live frame can't be read: %s", type(error).__name__)
            self._stop_timer()
            self._merge = self._new_merge()
            self.catch_up()

    def catch_up(self) -> None:
        """Tells every listener to read again, as something may be missing."""
        for listener in tuple(self.listeners):
            listener.on_attached()

    def close(self) -> None:
        """Nobody listens any more."""
        self._stop_timer()

    def _take(self, content: dict[str, Any], frame: bytes) -> None:
        if content["t"] == "event":
            # Whatever waits is older than this event.
            self._flush()
            event = logged_from(content, frame)
            for listener in tuple(self.listeners):
                listener.on_event(event)
        elif content["t"] == "tokens":
            self._spread(
                self._merge.add(
                    content["turn"],
                    content["attempt"],
                    content["from"],
                    content["text"],
                    self._loop.time(),
                )
            )
            self._set_timer()

    def _set_timer(self) -> None:
        due = self._merge.due_at
        if due is not None and self._timer is None:
            self._timer = self._loop.call_at(due, self._flush)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._stop_timer()
        self._spread(self._merge.flush(self._loop.time()))

    def _spread(self, stretches: list[Stretch]) -> None:
        for stretch in stretches:
            for listener in tuple(self.listeners):
                listener.on_stretch(stretch)


class Bells:
    """Keeps one Redis connection subscribed to exactly the conversations that are listened to."""

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        *,
        merge_ms: int = 40,
        merge_bytes: int = 4096,
        on_state: Callable[[bool], None] = lambda up: None,
    ) -> None:
        self._connect = connect
        self._merge_s = merge_ms / 1000
        self._merge_bytes = merge_bytes
        self._on_state = on_state
        self._feeds: dict[bytes, Feed] = {}
        self._asked: set[bytes] = set()
        self._confirmed: set[bytes] = set()
        self._changed = asyncio.Event()
        self._touched: set[bytes] = set()
        self._heard_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to follow. Redis may be away; it is tried until it answers."""
        self._task = asyncio.create_task(self._run(), name="bells")

    async def close(self) -> None:
        """Stops following."""
        if self._task is not None:
            await stop(self._task)

    def attach(self, keys: ConversationKeys, conversation: str, listener: Listener) -> Feed:
        """Adds a listener. Frames arrive from the moment `feed.attached` is set."""
        feed = self._feeds.get(keys.bell)
        if feed is None:
            feed = Feed(conversation, merge_s=self._merge_s, merge_bytes=self._merge_bytes)
            self._feeds[keys.bell] = feed
            if keys.bell in self._confirmed:
                feed.attached.set()
            self._touch(keys.bell)
        feed.listeners.add(listener)
        return feed

    def detach(self, keys: ConversationKeys, listener: Listener) -> None:
        """Removes a listener; the last one takes the Redis subscription with it."""
        feed = self._feeds.get(keys.bell)
        if feed is None:
            return
        feed.listeners.discard(listener)
        if not feed.listeners:
            feed.close()
            del self._feeds[keys.bell]
            self._touch(keys.bell)

    def _touch(self, channel: bytes) -> None:
        self._touched.add(channel)
        self._changed.set()

    def all_catch_up(self) -> None:
        """Tells every listener to read again, as after a change of the epoch."""
        for feed in tuple(self._feeds.values()):
            feed.catch_up()

    async def _run(self) -> None:
        failures = 0
        while True:
            connection = self._connect()
            try:
                async with asyncio.timeout(QUIET_S):
                    await connection.connect()  # type: ignore[no-untyped-call]
                failures = 0
                self._on_state(True)
                await self._follow(connection)
            # Whatever it is: without this task no socket hears of anything.
            except Exception as error:
                _LOG.warning("live frames from Redis stopped: %s", type(error).__name__)
            finally:
                self._lost()
                await connection.disconnect(nowait=True)
            failures += 1
            await asyncio.sleep(_pause_s(failures))

    def _lost(self) -> None:
        self._on_state(False)
        self._asked.clear()
        self._confirmed.clear()
        self._touched = set(self._feeds)
        for feed in self._feeds.values():
            feed.attached.clear()

    async def _follow(self, connection: AbstractConnection) -> None:
        """Reads until the connection breaks; a second task sends, so that order is kept."""
        self._heard_at = time.monotonic()
        asking = asyncio.create_task(self._ask(connection), name="bells-ask")
        reading = asyncio.create_task(self._read(connection), name="bells-read")
        try:
            done, _ = await asyncio.wait((asking, reading), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await stop(asking, reading)

    async def _ask(self, connection: AbstractConnection) -> None:
        """Keeps the server's list of channels equal to ours, and finds out a dead server.

        Every change is confirmed and a ping goes out whenever there is none, so silence for long
        is a dead peer.
        """
        quiet = False
        while time.monotonic() - self._heard_at < SILENT_S:
            self._changed.clear()
            touched, self._touched = self._touched, set()
            gone = [c for c in touched if c in self._asked and c not in self._feeds]
            new = [c for c in touched if c in self._feeds and c not in self._asked]
            # Before the first await: a feed that begins meanwhile must wait for a new answer.
            self._confirmed.difference_update(gone)
            async with asyncio.timeout(QUIET_S):
                await _send(connection, "UNSUBSCRIBE", gone)
                await _send(connection, "SUBSCRIBE", new)
                if quiet:
                    await connection.send_command("PING", check_health=False)
            self._asked.difference_update(gone)
            self._asked.update(new)
            try:
                async with asyncio.timeout(QUIET_S):
                    quiet = not await self._changed.wait()
            except TimeoutError:
                quiet = True
        raise TimeoutError("Redis is silent")

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            # Without a timeout for each message, as `_ask` listens for silence.
            message = await connection.read_response(timeout=math.inf, push_request=True)
            self._heard_at = time.monotonic()
            if isinstance(message, list):
                self._take(message)

    def _take(self, message: list[Any]) -> None:
        kind, channel = message[0], message[1]
        if kind == b"subscribe":
            self._confirmed.add(channel)
        feed = self._feeds.get(channel)
        if feed is None:
            return
        if kind == b"message":
            feed.ring(message[2])
        elif kind == b"subscribe":
            feed.attached.set()
            feed.catch_up()


def _pause_s(failures: int) -> float:
    """A random wait before the next try, after so many that failed in a row."""
    return random.uniform(0.02, min(RETRY_S_MAX, 0.05 * 2 ** min(failures, 10)))


async def _send(connection: AbstractConnection, verb: str, channels: list[bytes]) -> None:
    for at in range(0, len(channels), CHANNELS_AT_ONCE):
        part = channels[at : at + CHANNELS_AT_ONCE]
        await connection.send_command(verb, *part, check_health=False)
