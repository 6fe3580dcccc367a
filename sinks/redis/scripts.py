"""The Lua steps that change Redis: their arguments, and running many of them in one round trip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from redis import exceptions

from schemas.failures import Unavailable
from sinks.redis.keys import (
    EPOCH,
    LOG_AGE_MS,
    LOG_BYTES_MAX,
    LOG_EVENTS_MAX,
    ConversationKeys,
)
from sinks.redis.line import Line
from sinks.redis.view import View

PIPELINE_MAX = 250
HELD_MAX = 512
"""Pieces of answers of one conversation that may wait for what they follow."""
HELD_MS = 3_600_000
"""How long they wait: as long as the topic keeps them."""

_FOLDER = Path(__file__).parent / "lua"
_PASSING = re.compile(
    r"(^|: -)(OOM|MISCONF|NOREPLICAS|LOADING|MASTERDOWN|TRYAGAIN|CLUSTERDOWN|READONLY) "
)
"""Refusals that end when somebody has seen to the server; inside a script they are quoted."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server knows it."""

    text: bytes
    sha: bytes


def _script(*names: str) -> Script:
    text = b"\n".join((_FOLDER / f"{name}.lua").read_bytes() for name in names)
    return Script(text, hashlib.sha1(text).hexdigest().encode())


@dataclass(frozen=True, slots=True)
class Guard:
    """What the shared beginning of every script needs to know about a partition."""

    offset_key: bytes
    epoch: bytes
    known: int
    """The offset that this Redis is known to have reached."""


@dataclass(frozen=True, slots=True)
class TurnStep:
    """What an event does to the open turn: `start`, `restart`, `end`, or nothing."""

    step: bytes = b""
    turn: str = ""
    attempt: int = 0


class Call(NamedTuple):
    """One step, ready to be sent."""

    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[bytes | int | str]


class Scripts:
    """The scripts, loaded from their files."""

    def __init__(self) -> None:
        self._events = _script("prelude", "events")
        self._pieces = _script("prelude", "pieces")
        self._offset = _script("prelude", "offset")
        self._claim = _script("claim")

    def events(
        self,
        guard: Guard,
        keys: ConversationKeys,
        expected: int,
        view: View,
        state: bytes,
        newest_us: int,
        steps: Sequence[tuple[bytes, TurnStep]],
        next_offset: int | None,
    ) -> Call:
        """Applies events that take a conversation from `expected` to `view`, whose latest event
        occurred at `newest_us`. `steps` are their frames with what they do to the open turn.
        """
        arguments: list[bytes | int | str] = [
            *_leading(guard, keys.bell, next_offset),
            expected,
            LOG_EVENTS_MAX,
            LOG_BYTES_MAX,
            newest_us // 1000 + LOG_AGE_MS,
            view.owner,
            view.status,
            state,
            " ".join(view.done),
        ]
        for frame, step in steps:
            arguments += (frame, step.step, step.turn, step.attempt)
        return Call(self._events, _keys(keys, guard), arguments)

    def pieces(
        self,
        guard: Guard,
        keys: ConversationKeys,
        pieces: Sequence[tuple[str, int, int, int, bytes, str]],
        next_offset: int,
    ) -> Call:
        """Applies pieces of answers: turn, attempt, start, end, frame and text of each."""
        leading = _leading(guard, keys.bell, next_offset)
        flat = [value for piece in pieces for value in piece]
        return Call(self._pieces, _keys(keys, guard), [*leading, HELD_MAX, HELD_MS, *flat])

    def offset(
        self, guard: Guard, next_offset: int, reached: Sequence[tuple[bytes, int]] = ()
    ) -> Call:
        """Moves a partition's offset, if the views under these keys have reached their `seq`."""
        keys = (b"", b"", b"", b"", guard.offset_key, EPOCH, *(view for view, _ in reached))
        leading = _leading(guard, b"", next_offset)
        return Call(self._offset, keys, [*leading, *(seq for _, seq in reached)])

    def claim(
        self, epoch: bytes, asked: Sequence[bytes], every: Sequence[bytes], *, may_replace: bool
    ) -> Call:
        """Takes Redis for an epoch; answers with the offsets under the keys asked for.

        A Redis that holds another epoch refuses, unless that one may be replaced.
        """
        return Call(self._claim, (EPOCH, *asked, *every), (epoch, len(asked), int(may_replace)))


def _keys(keys: ConversationKeys, guard: Guard) -> tuple[bytes, ...]:
    return (keys.log, keys.view, keys.turn, keys.held, guard.offset_key, EPOCH)


def _leading(guard: Guard, bell: bytes, next_offset: int | None) -> list[bytes | int | str]:
    return [guard.epoch, guard.known, "" if next_offset is None else next_offset, bell]


async def run(line: Line, calls: Sequence[Call]) -> list[Any]:
    """The calls' answers, in order. Raises `Unavailable` while Redis is away or can't write.

    Every step may be repeated, so a server that forgot the scripts gets them and the calls again.
    """
    answers: list[Any] = []
    for start in range(0, len(calls), PIPELINE_MAX):
        part = calls[start : start + PIPELINE_MAX]
        try:
            answers += await _send(line, part)
        except exceptions.NoScriptError:
            with redis_failures():
                for text in {call.script.text for call in part}:
                    await line.ask_one(b"SCRIPT", b"LOAD", text)
            answers += await _send(line, part)
    return answers


async def _send(line: Line, calls: Sequence[Call]) -> list[Any]:
    with redis_failures():
        answers = await line.ask(
            *(
                (b"EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.arguments)
                for call in calls
            )
        )
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


@contextmanager
def redis_failures() -> Iterator[None]:
    """Turns what redis-py raises while Redis is away into `Unavailable`."""
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError) as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    except exceptions.NoScriptError:
        raise
    except exceptions.ResponseError as error:
        if isinstance(error, exceptions.OutOfMemoryError) or _PASSING.search(str(error)):
            raise Unavailable(f"Redis takes no writes: {error}") from error
        raise
