"""What the gateway reads in Redis: a conversation's view, its log after a cursor, its open answer.

The Redis sink writes all of it; `sinks/redis/README.md` is the contract.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from redis.exceptions import RedisError

from schemas.failures import Unavailable
from sinks.redis.connection import away
from sinks.redis.keys import EPOCH, ConversationKeys, conversation_keys, entry_seq
from sinks.redis.line import Command, Line

EPOCH_FRESH_S = 1.0
READ_EVENTS = 64


@dataclass(frozen=True, slots=True)
class View:
    """The folded conversation; `state` is the JSON that frontends get."""

    seq: int
    epoch: str
    owner: str
    state: bytes


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """The text so far of the answer that is being written."""

    turn: str
    attempt: int
    text: str


class Logged(NamedTuple):
    """An event as it stands in the log: what the gateway must know of it, and the frame."""

    seq: int
    type: str
    turn: str | None
    attempt: int | None
    frame: bytes
    mid: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A conversation at one moment, and its log after a cursor.

    `view` is None for a conversation that this epoch has not seen.
    """

    epoch: str
    view: View | None
    events: tuple[Logged, ...]
    answer: OpenAnswer | None

    @property
    def head(self) -> int:
        """The newest event, 0 for none."""
        return self.view.seq if self.view else 0


class ReadModel:
    """Reads of one Redis. Every call raises `Unavailable` when it does not answer."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._epoch = ""
        self._epoch_at = float("-inf")

    async def ping(self) -> None:
        """Raises `Unavailable` when Redis does not answer."""
        try:
            await self._line.ask_one(b"PING")
        except (RedisError, OSError) as error:
            raise away(error) from None

    async def epoch(self, *, fresh: bool = False) -> str:
        """The incarnation of the log that Redis holds, asked for once a second at most.

        Raises `Unavailable` also when the sink has not begun yet.
        """
        if not fresh and time.monotonic() - self._epoch_at < EPOCH_FRESH_S and self._epoch:
            return self._epoch
        try:
            held = await self._line.ask_one(b"GET", EPOCH)
        except (RedisError, OSError) as error:
            raise away(error) from None
        if held is None:
            raise Unavailable("Redis holds no epoch: the Redis sink has not started on it yet")
        self._epoch, self._epoch_at = _text(held), time.monotonic()
        return self._epoch

    async def owner(self, tenant_id: str, conversation_id: str) -> str | None:
        """The pseudonym of the owner; None for a conversation that is not known (yet)."""
        keys = conversation_keys(tenant_id, conversation_id)
        try:
            held = await self._line.ask_one(b"HGET", keys.view, b"owner")
        except (RedisError, OSError) as error:
            raise away(error) from None
        return _text(held) or None

    async def read(self, keys: ConversationKeys, after: int, count: int = READ_EVENTS) -> Page:
        """The conversation now, and at most `count` events of its log after a `seq`."""
        epoch = await self.epoch()
        try:
            view, turn, entries = await self._at_once(
                (b"HMGET", keys.view, b"seq", b"epoch", b"owner", b"state"),
                (b"HMGET", keys.turn, b"turn", b"attempt", b"text"),
                (b"XRANGE", keys.log, b"(%d-0" % after, b"+", b"COUNT", count),
            )
        except (RedisError, OSError) as error:
            raise away(error) from None
        if view[0] is None or _text(view[1]) != epoch:
            return Page(epoch, None, (), None)
        return Page(
            epoch,
            View(int(view[0]), epoch, _text(view[2]), view[3] or b"{}"),
            # An entry has one field, the frame.
            tuple(logged(frame, entry_seq(entry)) for entry, (_, frame) in entries),
            OpenAnswer(_text(turn[0]), int(turn[1]), _text(turn[2])) if turn[0] else None,
        )

    async def _at_once(self, *commands: Command) -> list[Any]:
        """The answers of commands that see one moment."""
        *_, answers = await self._line.ask((b"MULTI",), *commands, (b"EXEC",))
        for answer in (answers, *(answers if isinstance(answers, list) else ())):
            if isinstance(answer, Exception):
                raise answer
        return list(answers)


def logged(frame: bytes, seq: int | None = None) -> Logged:
    """Reads what the gateway must know from an event's frame."""
    return logged_from(orjson.loads(frame), frame, seq)


def logged_from(content: dict[str, Any], frame: bytes, seq: int | None = None) -> Logged:
    """The same from a frame that is parsed already."""
    attempt = content.get("data", {}).get("attempt")
    return Logged(
        content["seq"] if seq is None else seq,
        content["type"],
        content.get("turn"),
        attempt if isinstance(attempt, int) else None,
        frame,
        content.get("mid"),
    )


def snapshot_state(view: View, answer: OpenAnswer | None) -> bytes:
    """The view's state with the open answer's text so far beside its turn."""
    if answer is None:
        return view.state
    state = orjson.loads(view.state)
    turn = state.get("turn")
    if not isinstance(turn, dict) or turn.get("turn") != answer.turn:
        return view.state
    turn |= {"attempt": answer.attempt, "at": len(answer.text), "text": answer.text}
    return orjson.dumps(state)


def _text(held: Any) -> str:
    return "" if held is None else held.decode()
