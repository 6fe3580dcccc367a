"""`parley log CONVERSATION`: what happened in a conversation, as the log has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, assert_never

import typer
from rich.table import Table
from rich.text import Text

from parley.exits import Exit
from parley.options import Data, Json, Tenant
from parley.talk import log_settings
from parley.terminal import err, out, print_json
from parley.verify.partitioning import partition_of
from parley.verify.reading import LogReader
from parley.wiring import Wiring
from schemas.envelope import Sealed
from schemas.events import (
    CommandRejected,
    ConversationClosed,
    ConversationStarted,
    Event,
    FeedbackReceived,
    MessageAnalysed,
    MessageReceived,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnRefused,
    TurnRestarted,
    TurnStarted,
)
from schemas.headers import rfc3339
from schemas.topics import EVENTS, conversation_key
from sinks.redis.frames import sealed_texts
from sinks.redis.texts import Opener, event_texts

_COLOURS: dict[type, str] = {
    ConversationStarted: "bright_black",
    MessageReceived: "cyan",
    MessageAnalysed: "blue",
    TurnStarted: "yellow",
    TurnRestarted: "yellow",
    TurnCompleted: "green",
    TurnFailed: "red",
    TurnCancelled: "magenta",
    TurnRefused: "red",
    FeedbackReceived: "magenta",
    ConversationClosed: "bright_black",
    CommandRejected: "red",
}
"""An event without a colour of its own is printed plain."""


def log(
    conversation: Annotated[str, typer.Argument(help="The conversation's id.")],
    tenant: Tenant = "demo",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Prints the events of a conversation, decoded and in order.

    Redacted texts are opened with the key store; what people wrote is not. With --json one event
    a line, with every field. Exits 1 if the log has no such conversation.
    """
    settings = log_settings(data)
    wiring = Wiring(settings, "log")
    found = False
    try:
        wiring.check_log()
        reader = LogReader(wiring.wire(EVENTS), wiring.kafka)
        key = conversation_key(tenant, conversation)
        deliveries = reader.read([partition_of(key, EVENTS.partitions)], key)
        found = _print((each.record for each in deliveries), wiring.sealer, as_json)
    finally:
        wiring.close()
    if not found:
        message = f"the log has no conversation {conversation} of tenant {tenant}"
        err().print(Text(message, "yellow"), soft_wrap=True)
        raise typer.Exit(Exit.NEGATIVE)


def _print(events: Iterator[Event], opener: Opener, as_json: bool) -> bool:
    """Prints the events; whether there were any."""
    table = Table.grid(padding=(0, 2))
    for column in ("seq", "time", "type"):
        table.add_column(justify="right" if column == "seq" else "left", no_wrap=True)
    table.add_column(overflow="fold")
    began_us = 0
    for event in events:
        texts = event_texts(opener, event)
        if as_json:
            print_json({"type": type(event).__name__, **_plain(event, _opened(event, texts))})
        envelope = event.envelope
        colour = _COLOURS.get(type(event), "")
        table.add_row(
            Text(str(envelope.seq), "dim"),
            Text(_time(envelope.occurred_at, began_us), "dim"),
            Text(type(event).__name__, colour),
            _told(event, texts),
        )
        began_us = began_us or envelope.occurred_at
    if not as_json and began_us:
        out().print(table)
    return bool(began_us)


def _time(now_us: int, began_us: int) -> str:
    """The first event's date and time, then what has passed since."""
    if not began_us:
        return rfc3339(now_us)[:23].replace("T", " ")
    return f"+{(now_us - began_us) / 1e6:.3f} s"


def _told(event: Event, texts: Sequence[str]) -> Text:
    """An event in a line, without ids that only machines need."""
    match event:
        case ConversationStarted():
            return Text(f"owner {event.owner}", "dim")
        case MessageReceived():
            return _dim(f"mid {event.mid}", f"{len(event.text.ciphertext)} bytes, sealed")
        case MessageAnalysed():
            verdicts = [
                f"{i.task} {i.label} {i.confidence:.2f}" for i in event.inferences if i.label
            ]
            kinds = [finding.kind for finding in event.findings]
            late = ["late"] if event.late else []
            return Text.assemble(texts[0], "  ", _dim(*late, *kinds, *verdicts, *event.degraded))
        case TurnStarted():
            return _dim(f"turn {event.turn_id}", event.model, *event.degraded)
        case TurnRestarted():
            return _dim(f"attempt {event.attempt}")
        case TurnCompleted():
            return _answer(event, texts)
        case TurnFailed() | TurnRefused():
            return Text.assemble(f"{event.code}: {event.message}")
        case TurnCancelled():
            return Text(event.reason)
        case FeedbackReceived():
            return Text("good" if event.score > 0 else "bad")
        case ConversationClosed():
            return Text("")
        case CommandRejected():
            return Text(f"{event.command}, {event.code}: {event.message}")
        case _:
            assert_never(event)


def _answer(event: TurnCompleted, texts: Sequence[str]) -> Text:
    text, *titles = texts
    cited = [f"[{c.marker}] {t}" for c, t in zip(event.citations, titles, strict=True)]
    notes = [
        f"attempt {event.attempt}",
        f"{event.usage.model} in {event.duration_us / 1000:.0f} ms",
        *(["declined"] if event.declined else []),
        *event.degraded,
    ]
    return Text.assemble(text, "\n", _dim(*cited), "\n" if cited else "", _dim(*notes))


def _dim(*notes: str) -> Text:
    return Text(" · ".join(notes), "dim")


def _opened(event: Event, texts: Sequence[str]) -> dict[int, str]:
    return {id(s): text for s, text in zip(sealed_texts(event), texts, strict=True)}


def _plain(value: Any, opened: dict[int, str]) -> Any:
    """A record as JSON values; a sealed text as its key version and, if it was opened, itself."""
    if isinstance(value, Sealed):
        sealed = {"key_version": value.key_version, "bytes": len(value.ciphertext)}
        return sealed | ({"text": opened[id(value)]} if id(value) in opened else {})
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), opened)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(item, opened) for item in value]
    return value.hex() if isinstance(value, bytes) else value
