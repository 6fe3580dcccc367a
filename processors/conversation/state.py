"""The folded state of a conversation. It is the snapshot record itself: references, no text."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from schemas.identifiers import turn_id
from schemas.records import ConversationSnapshot, WaitingMessage

Conversation = ConversationSnapshot

NEW: Final = "new"
OPEN: Final = "open"
CLOSED: Final = "closed"

HANDLED_MAX: Final = 128
"""Client commands that are remembered. An older one that comes again is taken for a new one."""
STRANGERS_MAX: Final = 128
"""The same of people who are not the owner, apart, so that they can't push the owner's out."""
ENDED_MAX: Final = 32
"""Turns that feedback can still refer to."""
CONTEXT_MAX: Final = 24
UNANALYSED_MAX: Final = 16

ID_BYTES: Final = 16
ENTRY_BYTES: Final = 2 * ID_BYTES


def new_conversation(tenant_id: str, conversation_id: str) -> Conversation:
    """A conversation before its first event."""
    return Conversation(
        tenant_id=tenant_id,
        conversation_id=conversation_id,
        seq=0,
        status=NEW,
        owner="",
        owner_epoch=1,
        turn=None,
        waiting=(),
        unanalysed=(),
        finished=(),
        context=(),
        handled=b"",
        ended=(),
        strangers=(),
    )


def upcast(snapshot: ConversationSnapshot) -> Conversation:
    """The state that a snapshot of any version stands for."""
    if not snapshot.finished:
        return snapshot
    return replace(snapshot, finished=(), ended=tuple(t.message_seq for t in snapshot.finished))


def handled_entry(command_id: str, body_hmac: bytes) -> bytes:
    """What `handled` keeps of a client's command."""
    return bytes.fromhex(command_id.replace("-", "")) + body_hmac


def has_handled(state: Conversation, entry: bytes) -> bool:
    """Whether this very command, id and body, was handled before."""
    return _find(state.handled, entry) >= 0 or entry in state.strangers


def has_handled_otherwise(state: Conversation, entry: bytes) -> bool:
    """Whether a command of this id was handled, with whatever body."""
    command = entry[:ID_BYTES]
    return _find(state.handled, command) >= 0 or any(
        stranger.startswith(command) for stranger in state.strangers
    )


def _find(handled: bytes, wanted: bytes) -> int:
    """The position of an entry that begins with `wanted`; -1 if there is none."""
    at = handled.rfind(wanted)  # in a full memory it takes half as long as `find`
    while at >= 0 and at % ENTRY_BYTES:
        at = handled.rfind(wanted, 0, at + len(wanted) - 1)
    return at


def waiting_message(state: Conversation, message_seq: int) -> WaitingMessage | None:
    """The message that no turn has answered yet, by its number."""
    for message in state.waiting:
        if message.message_seq == message_seq:
            return message
    return None


def has_ended(state: Conversation, wanted: str) -> bool:
    """Whether the turn is one of the latest that are over."""
    tenant_id, conversation_id = state.tenant_id, state.conversation_id
    return any(turn_id(tenant_id, conversation_id, seq) == wanted for seq in state.ended)
