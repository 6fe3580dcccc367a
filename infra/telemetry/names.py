"""The names of span attributes, each in one place.

`parley trace` finds a message by any of `MESSAGE_NAMES`.
"""

from __future__ import annotations

TENANT = "parley.tenant_id"
CONVERSATION = "parley.conversation_id"
MESSAGE = "parley.message_id"
COMMAND = "parley.command_id"
EVENT = "parley.event_id"
SEQ = "parley.seq"
TURN = "parley.turn"
ATTEMPT = "parley.attempt"
STAGE = "parley.stage"
RECORD = "parley.record"
MODEL = "parley.model"
OUTCOME = "parley.outcome"
DEGRADED = "parley.degraded"
TOPIC = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
OFFSET = "messaging.kafka.offset"
MESSAGING_ID = "messaging.message.id"

MESSAGE_NAMES = (MESSAGE, COMMAND, EVENT, MESSAGING_ID)
"""A client's `mid`, a command, an event, or the id of a record on a topic."""
