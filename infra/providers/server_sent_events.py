"""Reads the `data` of server-sent events from bytes that may be cut anywhere.

The rules are those of the WHATWG HTML standard, "Server-sent events". Event names, ids and retry
times are passed over, because the chat-completions protocol does not use them.
"""

from __future__ import annotations

import codecs

SIZE_CHARS_MAX = 1 << 20


class EventTooLong(ValueError):
    """An event is longer than anything that a model could mean to send."""


class EventReader:
    """Give it bytes with `feed`; it gives back the data of every event that became complete."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Data of the events completed by this chunk. Raises `EventTooLong`."""
        text = self._rest + self._decode(chunk)
        # A carriage return at the very end may be the first half of a line end.
        held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        *lines, self._rest = text.split("\n")
        self._rest += held
        if len(self._rest) + self._size > SIZE_CHARS_MAX:
            raise EventTooLong(f"an event of more than {SIZE_CHARS_MAX} characters")
        return [data for line in lines if (data := self._line(line)) is not None]

    def end(self) -> list[str]:
        """Data that was complete but for the blank line, as some servers end their stream."""
        return [data for data in (self._line(self._rest), self._line("")) if data is not None]

    def _line(self, line: str) -> str | None:
        line = line.removesuffix("\r").removeprefix("\ufeff")
        if not line:
            data, self._data, self._size = self._data, [], 0
            return "\n".join(data) if data else None
        field, _, value = line.partition(":")
        if field == "data":  # a comment, used as keep-alive, has an empty field name
            self._data.append(value.removeprefix(" "))
            self._size += len(value)
        return None
