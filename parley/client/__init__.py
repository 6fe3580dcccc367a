"""A Python client of the gateway: many conversations over few sockets, each event applied once."""

from parley.client.client import Client
from parley.client.conversation import Conversation
from parley.client.cursor import Applied, Cursor, Event, Reset, Text
from parley.client.exchange import Exchange
from parley.client.failures import CommandRefused, ConversationRefused, GatewayClosed

__all__ = [
    "Applied",
    "Client",
    "CommandRefused",
    "Conversation",
    "ConversationRefused",
    "Cursor",
    "Event",
    "Exchange",
    "GatewayClosed",
    "Reset",
    "Text",
]
