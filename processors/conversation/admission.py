"""Refuses people's commands that no gateway gives, so that they are put aside and not decided."""

from __future__ import annotations

from processors.conversation.state import ID_BYTES, NEW, Conversation, handled_entry
from schemas.commands import CancelTurn, CloseConversation, SubmitFeedback, SubmitMessage
from schemas.envelope import CommandEnvelope
from schemas.failures import Invalid
from schemas.identifiers import is_client_id, is_command_id, is_tenant_id

ClientCommand = SubmitMessage | CancelTurn | SubmitFeedback | CloseConversation


def checked_entry(state: Conversation, command: ClientCommand) -> bytes:
    """What `handled` will keep of the command. Raises `Invalid` for ids that no gateway gives."""
    envelope = command.envelope
    if not (_is_begun(state, envelope) or _is_place(envelope)):
        raise _invalid(command, "identifier", "a malformed tenant or conversation id")
    if not is_command_id(envelope.command_id):
        raise _invalid(command, "identifier", "a command id that is no UUID")
    if envelope.body_hmac is None or len(envelope.body_hmac) != ID_BYTES:
        raise _invalid(command, "body_hmac", f"no HMAC of {ID_BYTES} bytes")
    return handled_entry(envelope.command_id, envelope.body_hmac)


def _is_begun(state: Conversation, envelope: CommandEnvelope) -> bool:
    """Whether this very conversation has begun: then its ids were looked at before."""
    return (
        state.status != NEW
        and state.conversation_id == envelope.conversation_id
        and state.tenant_id == envelope.tenant_id
    )


def _is_place(envelope: CommandEnvelope) -> bool:
    return is_tenant_id(envelope.tenant_id) and is_client_id(envelope.conversation_id)


def _invalid(command: ClientCommand, code: str, what: str) -> Invalid:
    return Invalid(code, f"{type(command).__name__} has {what}")
