"""Why a socket is closed, and whether the client may come back: 44xx may, 45xx must not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseCode:
    """A verdict on a socket. `reason` is one sentence for developers; it never quotes input."""

    code: int
    reason: str

    @property
    def reconnect(self) -> bool:
        """Whether a client may connect again by itself."""
        return self.code < 4500


TOKEN_EXPIRED = CloseCode(4401, "the token expired: connect with a new one")
TOO_SLOW = CloseCode(4408, "nothing was read for too long: connect again and resume")
RESUBSCRIBE = CloseCode(4410, "the subscriptions are lost: connect again and subscribe")
NO_PONG = CloseCode(4412, "a ping was not answered: connect again and resume")
RATE = CloseCode(4413, "too many connections in a short time: connect again later")
DRAINING = CloseCode(4499, "this gateway is going away: connect again and resume")

BAD_TOKEN = CloseCode(4500, "the token is missing or not valid here")
BAD_FRAME = CloseCode(4501, "a frame was not one JSON object in text with a kind in t")
NO_HELLO = CloseCode(4502, "the first frame was not hello, or hello came too late")
IDENTITY_CHANGED = CloseCode(4503, "a new token must keep sub and tenant_id")
TOO_MANY_CONNECTIONS = CloseCode(4504, "too many open sockets of this user")
FORBIDDEN = CloseCode(4507, "this origin or user may not connect here")

CLOSE_CODES = (
    TOKEN_EXPIRED,
    TOO_SLOW,
    RESUBSCRIBE,
    NO_PONG,
    RATE,
    DRAINING,
    BAD_TOKEN,
    BAD_FRAME,
    NO_HELLO,
    IDENTITY_CHANGED,
    TOO_MANY_CONNECTIONS,
    FORBIDDEN,
)
"""The catalogue; 1009 (message too big) comes from the WebSocket protocol itself."""
