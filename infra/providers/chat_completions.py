"""The chat-completions protocol as data: bodies out, streamed chunks and error objects in.

Nothing here touches a connection. Texts of error objects are never passed on, only their codes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from infra.providers.errors import ProviderError, RateLimited, Rejected, Unavailable
from infra.providers.port import GenerationRequest

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CHARS_PER_TOKEN = 4
_REASONS: dict[str, Literal["stop", "length", "filtered"]] = {
    "length": "length",
    "content_filter": "filtered",
}

# Parameters that some servers or models do not take, and what is sent instead, if anything.
_REPLACEMENTS: dict[str, str | None] = {
    "max_completion_tokens": "max_tokens",
    "max_tokens": None,
    "temperature": None,
    "stream_options": None,
}


def request_body(
    model: str, request: GenerationRequest, refused: Collection[str] = ()
) -> dict[str, Any]:
    """The body of a request, without the parameters that the server refused before."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": message.role, "content": message.content} for message in request.messages
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": request.max_output_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    for parameter, replacement in _REPLACEMENTS.items():
        if parameter in refused and parameter in body:
            value = body.pop(parameter)
            if replacement is not None and replacement not in refused:
                body[replacement] = value
    return body


def _sanitised(value: object) -> str:
    text = str(value) if isinstance(value, str | int) else ""
    return text if _CODE.fullmatch(text) else ""


class Failure(Exception):
    """An error object of the server: its code and type, as far as they are plain identifiers."""

    def __init__(self, code: str = "", kind: str = "", parameter: str = ""):
        super().__init__(code or kind)
        self.code, self.kind, self.parameter = code, kind, parameter

    @classmethod
    def of(cls, error: object) -> Failure:
        """Reads the value of `error`, which is an object or, at some servers, a sentence."""
        if not isinstance(error, dict):
            return cls(kind="error")
        return cls(
            _sanitised(error.get("code")),
            _sanitised(error.get("type")) or "error",
            _sanitised(error.get("param")),
        )

    @property
    def suffix(self) -> str:
        """The code in brackets, for a message."""
        name = self.code or ("" if self.kind == "error" else self.kind)
        return f" ({name})" if name else ""

    def error(self, place: str) -> ProviderError:
        """What an error object inside a stream asks of the caller."""
        message = f"{place} reported an error in its stream{self.suffix}"
        named = f"{self.code} {self.kind}".lower()
        if "rate_limit" in named or "429" in named or "quota" in named:
            return RateLimited(message)
        if "invalid" in named or "not_found" in named or "authentication" in named:
            return Rejected(message)
        return Unavailable(message)


def failure_of_body(body: bytes) -> Failure:
    """The error object of a body; an empty one where the body holds none."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return Failure()
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return Failure() if error is None else Failure.of(error)


def unsupported_parameter(status: int, body: bytes) -> str | None:
    """The parameter that made the server refuse a request which works without it."""
    if status not in (400, 422):
        return None
    parameter = failure_of_body(body).parameter
    return parameter if parameter in _REPLACEMENTS else None


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait by a `Retry-After` header, which holds seconds or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


class Reply:
    """What the stream has said so far."""

    def __init__(self) -> None:
        self.model = ""
        self.reason: Literal["stop", "length", "filtered"] | None = None
        self.done = False
        self._usage: tuple[int, int] | None = None
        self._chars = 0

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, even if the stream ended without its mark."""
        return self.done or self.reason is not None

    def heard(self, event: str) -> str:
        """The text of one event, perhaps empty.

        Raises `Failure` for an error object and `ValueError` for what is no chunk at all.
        """
        if event.strip() == "[DONE]":
            self.done = True
            return ""
        chunk = json.loads(event)
        if not isinstance(chunk, dict):
            raise ValueError("an event that is no object")
        if chunk.get("error"):
            raise Failure.of(chunk["error"])
        self.model = self.model or str(chunk.get("model") or "")
        self._note_usage(chunk.get("usage"))
        text = "".join(self._choice(choice) for choice in chunk.get("choices") or ())
        self._chars += len(text)
        return text

    def _choice(self, choice: Any) -> str:
        if not isinstance(choice, dict) or choice.get("index", 0) != 0:
            return ""
        reason = choice.get("finish_reason")
        if reason:
            self.reason = _REASONS.get(str(reason), "stop")
        delta = choice.get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else ""

    def _note_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        if all(isinstance(count, int) and count >= 0 for count in tokens):
            self._usage = tokens  # type: ignore[assignment]

    def tokens(self, request: GenerationRequest) -> tuple[int, int, bool]:
        """Input and output tokens, and whether they had to be estimated from the texts."""
        if self._usage is not None:
            return (*self._usage, False)
        sent = sum(len(message.content) for message in request.messages)
        return math.ceil(sent / _CHARS_PER_TOKEN), math.ceil(self._chars / _CHARS_PER_TOKEN), True
