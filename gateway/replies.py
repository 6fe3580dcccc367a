"""The frames that the gateway itself writes, encoded. Events come encoded from the Redis sink."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.close_codes import CloseCode
from gateway.refusals import Refused

FrameId = int | str | None


def _frame(kind: str, **fields: Any) -> bytes:
    return orjson.dumps({"t": kind, **fields})


def welcome(
    connection: str, server: str, ping_ms: int, limits: dict[str, Any], token_ttl_ms: int
) -> bytes:
    """The answer to hello."""
    return _frame(
        "welcome",
        conn=connection,
        server=server,
        ping_ms=ping_ms,
        limits=limits,
        token_ttl_ms=token_ttl_ms,
    )


def subbed(frame_id: FrameId, conversation: str, epoch: str, head: int, resumed: bool) -> bytes:
    """The subscription stands; `head` is the newest event now."""
    return _frame("subbed", id=frame_id, c=conversation, epoch=epoch, head=head, resumed=resumed)


def snapshot(conversation: str, epoch: str, seq: int, state: bytes) -> bytes:
    """The conversation after event `seq`; `state` is JSON already."""
    fragment = orjson.Fragment(state or b"{}")
    return _frame("snapshot", c=conversation, epoch=epoch, seq=seq, state=fragment)


def tokens(conversation: str, turn: str, attempt: int, start: int, text: str) -> bytes:
    """A stretch of an answer, from code point `start` on."""
    return orjson.dumps(
        {
            "t": "tokens",
            "c": conversation,
            "turn": turn,
            "attempt": attempt,
            "from": start,
            "to": start + len(text),
            "text": text,
        }
    )


def ok(frame_id: FrameId, mid: str | None, dup: bool = False) -> bytes:
    """Done, and for commands: durable in the log."""
    if mid is None:
        return _frame("ok", id=frame_id)
    return _frame("ok", id=frame_id, mid=mid, dup=dup)


def err(frame_id: FrameId, refused: Refused, conversation: str | None = None) -> bytes:
    """Not done."""
    fields: dict[str, Any] = {
        "id": frame_id,
        "code": refused.code,
        "message": refused.message,
        "temporary": refused.temporary,
    }
    if refused.retry_after_ms:
        fields["retry_after_ms"] = refused.retry_after_ms
    if conversation is not None:
        fields["c"] = conversation
    return _frame("err", **fields)


def bye(close: CloseCode, reason: str, after_ms: int | None = None) -> bytes:
    """The socket is about to be closed."""
    fields: dict[str, Any] = {"code": close.code, "reason": reason, "reconnect": close.reconnect}
    if after_ms is not None:
        fields["after_ms"] = after_ms
    return _frame("bye", **fields)


def auth_due(in_ms: int) -> bytes:
    """The token expires soon."""
    return _frame("auth_due", in_ms=in_ms)


PING = _frame("ping")
