"""What a client of the gateway must tell its user."""

from __future__ import annotations


class GatewayClosed(Exception):
    """The gateway ended the socket and another try would end the same way."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason


class CommandRefused(Exception):
    """The gateway refused a command for good; `code` is its stable word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class ConversationRefused(Exception):
    """The gateway does not let this person follow the conversation."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
