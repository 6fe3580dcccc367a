"""The frames that clients send: their shapes, and parsing with errors that name the field.

What a frame means, and whether its sender may send it, is decided elsewhere.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from gateway.close_codes import BAD_FRAME
from gateway.refusals import Ended, ErrorCode, Refused
from schemas.identifiers import is_client_id

PROTOCOL_VERSION = 1


def _client_id(value: str) -> str:
    if not is_client_id(value):
        raise PydanticCustomError("client_id", "must be 1 to 64 letters, digits, '-' or '_'")
    return value


ClientId = Annotated[str, AfterValidator(_client_id)]
FrameId = (
    Annotated[int, Field(strict=True, ge=0, le=2**53)]
    | Annotated[str, Field(strict=True, min_length=1, max_length=64)]
)
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Text = Annotated[str, Field(strict=True, min_length=1)]
"""Some text; how much is a limit of the gateway and not of the shape."""


def _score(value: int) -> int:
    if value not in (-1, 1):
        raise PydanticCustomError("score", "must be -1 or 1")
    return value


Score = Annotated[int, Field(strict=True), AfterValidator(_score)]


class _Part(BaseModel):
    """A piece of a frame. Unknown fields of frames are ignored, so that clients can be newer."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, protected_namespaces=()
    )


class MessageBody(_Part):
    """What a person says. It is compared and sealed whole, so unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    text: Text


class Position(_Part):
    """A conversation and how far the client has it: events up to `seq`, `at` of the open answer."""

    c: ClientId
    epoch: Annotated[str, Field(strict=True, max_length=128)] | None = None
    seq: Count | None = None
    turn: ClientId | None = None
    attempt: Count | None = None
    at: Count | None = None


class Hello(_Part):
    """The first frame."""

    kind: ClassVar = "hello"
    v: Annotated[int, Field(strict=True)]
    token: Annotated[str, Field(strict=True, max_length=16_384)] | None = None
    subs: Annotated[tuple[Position, ...], Field(max_length=256)] = ()
    id: FrameId | None = None


class Subscribe(Position):
    """Follow a conversation from a position on."""

    kind: ClassVar = "sub"
    id: FrameId | None = None


class Unsubscribe(_Part):
    """Stop following a conversation."""

    kind: ClassVar = "unsub"
    id: FrameId | None = None
    c: ClientId


class Send(_Part):
    """Say something."""

    kind: ClassVar = "send"
    id: FrameId
    c: ClientId
    mid: ClientId
    body: MessageBody


class Feedback(_Part):
    """Rate an answer: -1 for bad, 1 for good."""

    kind: ClassVar = "feedback"
    id: FrameId
    c: ClientId
    mid: ClientId
    turn: ClientId
    score: Score
    comment: Text | None = None


class Cancel(_Part):
    """Stop an answer."""

    kind: ClassVar = "cancel"
    id: FrameId
    c: ClientId
    mid: ClientId
    turn: ClientId


class Close(_Part):
    """End a conversation."""

    kind: ClassVar = "close"
    id: FrameId
    c: ClientId
    mid: ClientId


class Ack(_Part):
    """The client has applied events up to `seq`."""

    kind: ClassVar = "ack"
    id: FrameId | None = None
    c: ClientId
    seq: Count


class Auth(_Part):
    """A new token for the open socket."""

    kind: ClassVar = "auth"
    id: FrameId
    token: Annotated[str, Field(strict=True, min_length=1, max_length=16_384)]


class Pong(_Part):
    """The answer to a ping."""

    kind: ClassVar = "pong"
    id: FrameId | None = None


CommandFrame = Send | Feedback | Cancel | Close
ClientFrame = Hello | Subscribe | Unsubscribe | CommandFrame | Ack | Auth | Pong

FRAMES: dict[str, type[ClientFrame]] = {
    frame.kind: frame
    for frame in (
        Hello, Subscribe, Unsubscribe, Send, Feedback, Cancel, Close, Ack, Auth, Pong
    )
}  # fmt: skip
RESERVED = frozenset(("answer", "handover", "reply"))
"""Kinds of the protocol that this gateway does not do."""
UNION_BRANCHES = frozenset(("int", "str", "constrained-int", "constrained-str"))
FIELD_NAME = re.compile(r"[a-z_]{1,32}")


class FrameRefused(Refused):
    """A frame that can't be understood, with the id that its `err` must carry."""

    def __init__(self, frame_id: int | str | None, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.frame_id = frame_id


def parse(data: bytes) -> ClientFrame:
    """One client frame.

    Raises `Ended` for what is no frame at all and `FrameRefused` for one with wrong content.
    """
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Ended(BAD_FRAME, "a frame was not valid JSON") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("t"), str):
        raise Ended(BAD_FRAME)
    kind = raw["t"]
    model = FRAMES.get(kind)
    if model is None:
        raise _unknown(kind, raw)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        message = _problem(kind, error)
        raise FrameRefused(_id_of(raw), ErrorCode.INVALID, message) from None


def _unknown(kind: str, raw: dict[str, Any]) -> FrameRefused:
    if kind in RESERVED:
        message = f"frames of kind {kind} are not supported by this gateway"
        return FrameRefused(_id_of(raw), ErrorCode.UNSUPPORTED, message)
    message = f"unknown kind of frame; known are {', '.join(sorted(FRAMES))}"
    return FrameRefused(_id_of(raw), ErrorCode.UNKNOWN_FRAME, message)


def _id_of(raw: dict[str, Any]) -> int | str | None:
    value = raw.get("id")
    if isinstance(value, str):
        return value if 0 < len(value) <= 64 else None
    return value if type(value) is int and 0 <= value <= 2**53 else None


def _problem(kind: str, error: ValidationError) -> str:
    """The first fault as `send.body.text: …`; pydantic's union branches are not part of a path."""
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    names = [str(part) for part in fault["loc"] if str(part) not in UNION_BRANCHES]
    if fault["type"] == "extra_forbidden" and not FIELD_NAME.fullmatch(names[-1]):
        # An unknown field's name is the client's own text, of any length.
        names[-1] = "…"
    path = ".".join([kind, *names])
    if fault["type"] == "string_too_short" and names[-1:] == ["text"]:
        return f"{path}: the text is empty"
    return f"{path}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
