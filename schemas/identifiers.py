"""Identifiers: what a client may call things, and ids that follow from what caused them."""

from __future__ import annotations

import re

from uuid_utils import UUID, uuid5

_NAMESPACE = UUID("5d2b8a0e-6d5c-5c0b-9a57-0f6f6f9b7c11")
_TENANT = re.compile(r"[a-z0-9-]{1,63}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_SEPARATOR = "\x1f"


def is_tenant_id(text: str) -> bool:
    """Whether `text` can name a tenant."""
    return _TENANT.fullmatch(text) is not None


def is_client_id(text: str) -> bool:
    """Whether `text` can name a conversation or a message (a `mid`)."""
    return _CLIENT_ID.fullmatch(text) is not None


def is_command_id(text: str) -> bool:
    """Whether `text` is a UUID in its lower-case text form, as every `command_id` is."""
    return _UUID.fullmatch(text) is not None


def derived_id(*parts: str) -> str:
    """UUID version 5 over the parts (RFC 9562, section 5.5), in its text form.

    The parts are joined with a separator that none of our ids can contain.
    """
    return str(uuid5(_NAMESPACE, _SEPARATOR.join(parts)))


def client_command_id(
    tenant_id: str, conversation_id: str, actor: str, mid: str, command: str
) -> str:
    """The id of a client's command, equal for every repetition of it.

    The author is a part, so that nobody's `mid` can stand in the way of another's; so is the
    conversation, so that the same `mid` elsewhere is another command.
    """
    return derived_id("client", tenant_id, conversation_id, actor, mid, command)


def internal_command_id(
    tenant_id: str, conversation_id: str, origin: str, causation: str, step: str, ordinal: int = 0
) -> str:
    """The id of a stage's command. `origin` is the stage, `causation` the record it acts upon."""
    return derived_id("stage", tenant_id, conversation_id, origin, causation, step, str(ordinal))


def event_id(command: str, body_hmac: bytes | None, ordinal: int) -> str:
    """The id of the `ordinal`-th event that a command led to.

    The same client command with another body is another cause, since it leads to a rejection.
    """
    body = "" if body_hmac is None else body_hmac.hex()
    return derived_id("event", command, body, str(ordinal))


def turn_id(tenant_id: str, conversation_id: str, message_seq: int) -> str:
    """The id of the turn that answers a message."""
    return derived_id("turn", tenant_id, conversation_id, str(message_seq))
