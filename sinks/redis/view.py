"""The conversation as a frontend needs it, folded from its events. Pure, and equal for equal logs.

What the values mean to readers is in README.md beside this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, assert_never

import orjson

from schemas.events import (
    CommandRejected,
    ConversationClosed,
    ConversationStarted,
    Event,
    FeedbackReceived,
    MessageAnalysed,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRefused,
    TurnRestarted,
    TurnStarted,
)
from schemas.headers import rfc3339
from sinks.redis.frames import Shown

MESSAGES_MAX = 50
TEXT_MAX = 49_152
"""Code points of all messages in a view. A snapshot must fit what a gateway holds for a client."""
DONE_MAX = 16
"""Ended turns whose late pieces are told from pieces that are ahead of their turn."""

Message = dict[str, Any]
"""A bubble on the screen. Never changed in place: views share them."""


@dataclass(frozen=True, slots=True)
class View:
    """A conversation after its event `seq`; 0 is one that does not exist yet."""

    seq: int = 0
    owner: str = ""
    status: str = "open"
    turn: dict[str, Any] | None = None
    messages: tuple[Message, ...] = ()
    done: tuple[str, ...] = ()
    """The latest ended turns, oldest first."""

    def state(self) -> bytes:
        """The `state` of a snapshot frame, as JSON."""
        return orjson.dumps(
            {"status": self.status, "turn": self.turn, "messages": list(self.messages)}
        )


EMPTY = View()


def stored_view(seq: bytes, owner: bytes, done: bytes, state: bytes) -> View:
    """The view that these fields were written from."""
    parsed = orjson.loads(state)
    return View(
        seq=int(seq),
        owner=owner.decode(),
        status=parsed["status"],
        turn=parsed["turn"],
        messages=tuple(parsed["messages"]),
        done=tuple(done.decode().split()),
    )


def evolve(view: View, event: Event, data: Shown) -> View:
    """The view after one more event. `data` is what `frames.shown` made of it."""
    return replace(_changed(view, event, data), seq=event.envelope.seq)


def _changed(view: View, event: Event, data: Shown) -> View:
    match event:
        case ConversationStarted():
            return replace(view, owner=event.owner)
        case MessageReceived():
            return _said(view, {"who": "customer", **_stamp(event), "mid": event.mid})
        case MessageAnalysed():
            known = {key: data[key] for key in ("text", "kinds", "labels")}
            known["analysed"] = event.envelope.seq
            return _settled(_amended(view, _at(event.message_seq), known))
        case TurnStarted():
            opened = _turn(event, event.mid, event.message_seq, attempt=1)
            return replace(
                _amended(view, _at(event.message_seq), {"turn": event.turn_id}), turn=opened
            )
        case TurnRestarted():
            if view.turn is None or view.turn["turn"] != event.turn_id:
                return view
            return replace(view, turn={**view.turn, "attempt": event.attempt})
        case TurnCompleted():
            told = {k: v for k, v in data.items() if k != "message_seq"}
            return _ended(view, event, told)
        case TurnFailed():
            return _ended(view, event, {"outcome": "failed", **data})
        case TurnCancelled():
            return _ended(view, event, {"outcome": "cancelled", **data})
        case TurnRefused():
            refused = {"who": "assistant", **_stamp(event), "mid": event.mid, "outcome": "refused"}
            return _said(view, refused | data)
        case FeedbackReceived():
            return _amended(view, _answer_of(event.turn_id), {"feedback": {"score": event.score}})
        case ConversationClosed():
            return replace(view, status="closed")
        case CommandRejected():
            return view
    assert_never(event)


def _stamp(event: Event) -> Message:
    return {"seq": event.envelope.seq, "ts": rfc3339(event.envelope.occurred_at)}


def _turn(event: TurnStarted, mid: str, message_seq: int, attempt: int) -> dict[str, Any]:
    return {
        "turn": event.turn_id,
        "attempt": attempt,
        "mid": mid,
        "message_seq": message_seq,
        "ts": rfc3339(event.envelope.occurred_at),
    }


def _ended(view: View, event: TurnCompleted | TurnFailed | TurnCancelled, told: Message) -> View:
    answer = {"who": "assistant", **_stamp(event), "mid": event.mid, "turn": event.turn_id, **told}
    still_open = view.turn is not None and view.turn["turn"] != event.turn_id
    done = (*view.done, event.turn_id)[-DONE_MAX:]
    return _said(replace(view, turn=view.turn if still_open else None, done=done), answer)


def _said(view: View, message: Message) -> View:
    return _settled(replace(view, messages=(*view.messages, message)))


def _settled(view: View) -> View:
    """The view with no more messages than it may hold; the latest always stays."""
    messages = view.messages[-MESSAGES_MAX:]
    total = sum(len(message.get("text", "")) for message in messages)
    while total > TEXT_MAX and len(messages) > 1:
        total -= len(messages[0].get("text", ""))
        messages = messages[1:]
    return replace(view, messages=messages)


def _at(seq: int) -> Callable[[Message], bool]:
    return lambda message: message["seq"] == seq


def _answer_of(turn: str) -> Callable[[Message], bool]:
    return lambda message: message["who"] == "assistant" and message.get("turn") == turn


def _amended(view: View, wanted: Callable[[Message], bool], known: Message) -> View:
    """The view with the newest wanted message knowing more; unchanged if it is no longer here."""
    messages = list(view.messages)
    for index in range(len(messages) - 1, -1, -1):
        if wanted(messages[index]):
            messages[index] = messages[index] | known
            return replace(view, messages=tuple(messages))
    return view
