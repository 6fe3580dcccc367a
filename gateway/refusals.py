"""What a client is told when a frame is not done, and when a socket must end."""

from __future__ import annotations

from enum import StrEnum

from gateway.close_codes import CloseCode


class ErrorCode(StrEnum):
    """The codes of `err` frames. Temporary ones are worth another try."""

    INVALID = "invalid"
    UNKNOWN_FRAME = "unknown_frame"
    UNSUPPORTED = "unsupported"
    FORBIDDEN = "forbidden"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    RATE_LIMITED = "rate_limited"
    TEMPORARY = "temporary"


class Refused(Exception):
    """A frame that is not done; the socket stays. The message never quotes what was sent."""

    def __init__(
        self, code: ErrorCode, message: str, *, temporary: bool = False, retry_after_ms: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.temporary = temporary
        self.retry_after_ms = retry_after_ms


class Ended(Exception):
    """The socket must end with this code."""

    def __init__(self, close: CloseCode, reason: str = "") -> None:
        super().__init__(reason or close.reason)
        self.close = close
        self.reason = reason or close.reason


def temporary(message: str, retry_after_ms: int = 1000) -> Refused:
    """Something behind the gateway is away or full; the same frame can succeed later."""
    return Refused(
        ErrorCode.TEMPORARY, message, temporary=True, retry_after_ms=max(1, retry_after_ms)
    )
