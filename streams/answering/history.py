"""The texts of earlier turns: from what this process has just seen, else from the Redis view."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.keys.errors import KeyErased
from infra.keys.sealing import Sealer
from processors.answering.context import EarlierTurn
from schemas.events import Event, MessageAnalysed, TurnCompleted
from schemas.failures import Failure
from schemas.topics import conversation_key, key_of
from sinks.redis.keys import FRAME, ConversationKeys, conversation_keys, entry_id

REMEMBERED_MAX = 8_192
"""Events, about 2.5 KB each. Who comes back later than these last costs a look at Redis."""
RECHECK_S = 0.02
LOOK_S = 0.1
"""What one look at Redis may take when there is no wait, or a shorter one."""


@dataclass(frozen=True, slots=True)
class Said:
    """One earlier event's text."""

    mid: str
    by_customer: bool
    text: str
    cited: tuple[str, ...] = ()


class History:
    """Finds the texts that a turn's `context` refers to, by `seq`."""

    def __init__(self, redis: Redis, sealer: Sealer, *, wait_ms: int) -> None:
        self._redis = redis
        self._sealer = sealer
        self._wait_s = wait_ms / 1000
        self._recent: OrderedDict[tuple[bytes, int], MessageAnalysed | TurnCompleted] = (
            OrderedDict()
        )

    def remember(self, event: Event) -> None:
        """Keeps an event that a later turn may refer to; sealed, as it came."""
        if isinstance(event, MessageAnalysed | TurnCompleted):
            self._recent[key_of(event), event.envelope.seq] = event
            if len(self._recent) > REMEMBERED_MAX:
                self._recent.popitem(last=False)

    async def earlier(
        self, tenant_id: str, conversation_id: str, seqs: Sequence[int]
    ) -> tuple[tuple[EarlierTurn, ...], bool]:
        """The earlier turns, oldest first, and whether all that was asked for was found.

        Waits a little for a Redis view that lags or is silent; then what is there has to do.
        """
        key = conversation_key(tenant_id, conversation_id)
        found: dict[int, Said] = {}
        for seq in seqs:
            event = self._recent.get((key, seq))
            if event is not None:
                self._open(event, found)
        missing = [seq for seq in seqs if seq not in found]
        if missing:
            await self._from_redis(tenant_id, conversation_id, missing, found)
        return _turns([found[s] for s in seqs if s in found]), len(found) == len(seqs)

    def _open(self, event: MessageAnalysed | TurnCompleted, found: dict[int, Said]) -> None:
        place = event.envelope
        sealed = event.redacted if isinstance(event, MessageAnalysed) else event.text
        try:
            text = self._sealer.open(
                sealed, tenant_id=place.tenant_id, conversation_id=place.conversation_id
            )
        except (Failure, KeyErased):
            return  # the context is shorter by this one
        cited: tuple[str, ...] = ()
        if isinstance(event, TurnCompleted):
            cited = tuple(c.document_id for c in event.citations)
        found[place.seq] = Said(event.mid, isinstance(event, MessageAnalysed), text, cited)

    async def _from_redis(
        self, tenant_id: str, conversation_id: str, seqs: Sequence[int], found: dict[int, Said]
    ) -> None:
        keys = conversation_keys(tenant_id, conversation_id)
        try:
            # A Redis that is silent without hanging up would be waited for by its client, twice.
            async with asyncio.timeout(max(self._wait_s, LOOK_S)):
                await self._look(keys, seqs, found)
        except (RedisError, OSError, TimeoutError):
            return  # the context is shorter by what is missing

    async def _look(
        self, keys: ConversationKeys, seqs: Sequence[int], found: dict[int, Said]
    ) -> None:
        """Reads until nothing is missing that may still come."""
        give_up_at = time.monotonic() + self._wait_s
        missing = list(seqs)
        while missing:
            pipe = self._redis.pipeline(transaction=False)
            for seq in missing:
                pipe.xrange(keys.log, entry_id(seq), entry_id(seq))
            replies = await pipe.execute()
            head = int(await self._redis.hget(keys.view, "seq") or 0)
            for seq, entries in zip(missing, replies, strict=True):
                for _, fields in entries:
                    _read_frame(seq, fields, found)
            missing = [seq for seq in missing if seq not in found and seq > head]
            if time.monotonic() > give_up_at:
                return
            if missing:
                await asyncio.sleep(RECHECK_S)


def _read_frame(seq: int, fields: dict[bytes, bytes], found: dict[int, Said]) -> None:
    frame: dict[str, Any] = json.loads(fields[FRAME])
    shown = frame.get("data", {})
    if "text" in shown:
        cited = tuple(str(c["document"]) for c in shown.get("citations", ()))
        by_customer = frame["type"] == MessageAnalysed.__name__
        found[seq] = Said(str(frame.get("mid", "")), by_customer, shown["text"], cited)


def _turns(said: Sequence[Said]) -> tuple[EarlierTurn, ...]:
    """Joins questions with their answers, which share the `mid`."""
    turns: dict[str, EarlierTurn] = {}
    for each in said:
        known = turns.get(each.mid, EarlierTurn(""))
        if each.by_customer:
            turns[each.mid] = EarlierTurn(each.text, known.answer, known.cited)
        else:
            turns[each.mid] = EarlierTurn(known.question, each.text, each.cited)
    return tuple(turns.values())
