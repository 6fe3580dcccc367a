"""What outsiders can read after a storm: the log, Redis and ClickHouse, as plain rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import pyarrow as pa

from parley.verify.reading import SnapshotReader, snapshot_key
from parley.verify.verification import Sources
from processors.conversation.evolve import evolve
from processors.conversation.state import new_conversation
from schemas.events import Event, MessageReceived, TurnStarted
from schemas.topics import EVENTS
from sinks.clickhouse.columns import EVENT_COLUMNS, TEXT_COLUMNS, table_of
from sinks.clickhouse.columns import Row as Columns
from sinks.clickhouse.projection import ninety_days
from sinks.clickhouse.rows import event_row, text_row
from sinks.port import Delivery
from sinks.redis.texts import Opener, event_texts

from .history import Place

SNAPSHOTS = "the snapshot"
EVENT_ROWS, TEXT_ROWS = "events", "event_texts"
COLUMNS: Mapping[str, Mapping[str, pa.DataType]] = {
    EVENT_ROWS: EVENT_COLUMNS,
    TEXT_ROWS: TEXT_COLUMNS,
}
"""ClickHouse's tables, with every column but the time at which a row was inserted."""
TIMES = "times"
"""Stands for all columns of a row that is there more than once."""


@dataclass(frozen=True, slots=True)
class Row:
    """An event as one of the copies has it. What follows `code` is known of the log only."""

    seq: int
    type: str
    mid: str = ""
    turn: str = ""
    code: str = ""
    text: str = ""
    """What a message says, what was left of it when it was redacted, or an answer."""
    at_us: int = 0
    due_us: int = 0
    """When the turn that it starts has to end."""
    command: str = ""
    """The id of the command that led to it."""
    actor: str = ""


Cells = Mapping[str, Any]
"""One thing as a copy holds it: values by column."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What the log folds to, and what a copy holds instead, by conversation and `seq`."""

    folded: dict[tuple[Place, int], Cells]
    found: dict[tuple[Place, int], Cells]


@dataclass(slots=True)
class World:
    """All copies, by conversation, in the order in which they were read."""

    log: dict[Place, list[Row]] = field(default_factory=dict)
    redis: dict[Place, list[Row]] = field(default_factory=dict)
    clickhouse: dict[Place, list[Row]] = field(default_factory=dict)
    texts: list[tuple[str, str, str]] = field(default_factory=list)
    """Every text that a copy shows: where it is, its tenant, and the text."""
    folds: dict[str, Fold] = field(default_factory=dict)
    """By the copy's name. Redis, whose frames age, is compared by `parley verify`."""

    def only(self, prefix: str) -> World:
        """The conversations of one storm; a stack may have seen others before."""

        def some(copy: dict[Place, list[Row]]) -> dict[Place, list[Row]]:
            return {place: rows for place, rows in copy.items() if place[1].startswith(prefix)}

        def cells(all_of_it: dict[tuple[Place, int], Cells]) -> dict[tuple[Place, int], Cells]:
            return {k: v for k, v in all_of_it.items() if k[0][1].startswith(prefix)}

        return World(
            some(self.log),
            some(self.redis),
            some(self.clickhouse),
            self.texts,
            {name: Fold(cells(f.folded), cells(f.found)) for name, f in self.folds.items()},
        )


def look(sources: Sources, places: Iterable[Place]) -> World:
    """Reads everything. Raises `Unavailable`."""
    world = World()
    deliveries = list(sources.log.read(range(EVENTS.partitions)))
    for delivery in deliveries:
        world.log.setdefault(_place(delivery), []).append(_logged(delivery.record, sources.opener))
    _look_at_redis(sources, sorted({*world.log, *places}), world)
    stored = {table: _stored(sources, table, columns) for table, columns in COLUMNS.items()}
    _look_at_clickhouse(stored, world)
    rows = _rows(deliveries, sources.opener)
    world.folds = {SNAPSHOTS: _snapshots(sources.snapshots, deliveries)}
    for table, columns in COLUMNS.items():
        folded = table_of(rows[table], columns)
        world.folds[f"ClickHouse's {table}"] = Fold(_cells(folded), _cells(stored[table]))
    return world


def _place(delivery: Delivery) -> Place:
    envelope = delivery.record.envelope
    return envelope.tenant_id, envelope.conversation_id


# The log


def row_of(event: Event, text: str = "") -> Row:
    """An event as a row, with its text."""

    def said(name: str) -> str:
        return str(getattr(event, name, None) or "")

    kind = type(event).__name__
    return Row(event.envelope.seq, kind, said("mid"), said("turn_id"), said("code"), text)


def _logged(event: Event, opener: Opener) -> Row:
    due_us = event.deadline_at if isinstance(event, TurnStarted) else 0
    row = row_of(event, _text(event, opener))
    envelope = event.envelope
    return replace(
        row,
        at_us=envelope.occurred_at,
        due_us=due_us,
        command=envelope.command_id,
        actor=envelope.actor,
    )


def _text(event: Event, opener: Opener) -> str:
    if isinstance(event, MessageReceived):
        place = event.envelope
        return opener.open(
            event.text, tenant_id=place.tenant_id, conversation_id=place.conversation_id
        )
    return next(iter(event_texts(opener, event)), "")


# Redis and ClickHouse


def _look_at_redis(sources: Sources, places: list[Place], world: World) -> None:
    for place, stored in sources.redis.read(places).items():
        for _, raw in stored.frames if stored else ():
            frame: dict[str, Any] = json.loads(raw)
            data = frame["data"]
            row = Row(
                frame["seq"],
                frame["type"],
                frame.get("mid") or "",
                frame.get("turn") or "",
                data.get("code") or "",
            )
            world.redis.setdefault(place, []).append(row)
            world.texts.append(("Redis", place[0], raw.decode()))


def _look_at_clickhouse(stored: Mapping[str, pa.Table], world: World) -> None:
    for row in sorted(stored[EVENT_ROWS].to_pylist(), key=_key):
        place, seq = _key(row)
        columns = (row[name] or "" for name in ("event_type", "mid", "turn_id", "code"))
        world.clickhouse.setdefault(place, []).append(Row(seq, *columns))
    for row in stored[TEXT_ROWS].to_pylist():
        world.texts.append(("ClickHouse", row["tenant_id"], row["text"]))


def _stored(sources: Sources, table: str, columns: Iterable[str]) -> pa.Table:
    return sources.clickhouse.query_arrow(
        f"SELECT {', '.join(columns)} FROM {sources.database}.{table}"
    )


# Folds


def _snapshots(reader: SnapshotReader, deliveries: Sequence[Delivery]) -> Fold:
    """Snapshots byte for byte."""
    events: dict[Place, list[Event]] = defaultdict(list)
    for delivery in deliveries:
        events[_place(delivery)].append(delivery.record)
    folded: dict[tuple[Place, int], Cells] = {}
    found: dict[tuple[Place, int], Cells] = {}
    newest = {k: v for p in range(EVENTS.partitions) for k, v in reader.read(p).items()}
    for place, its_events in events.items():
        state = reduce(evolve, its_events, new_conversation(*place))
        folded[place, 0] = {"bytes": reader.encode(state)}
        if (snapshot := newest.get(snapshot_key(place))) is not None:
            found[place, 0] = {"bytes": snapshot}
    return Fold(folded, found)


def _rows(deliveries: Sequence[Delivery], opener: Opener) -> dict[str, list[Columns]]:
    """What ClickHouse's tables should hold."""

    def opened(sealed: Any, tenant: str, conversation: str) -> str:
        return opener.open(sealed, tenant_id=tenant, conversation_id=conversation)

    texts = (text_row(delivery, opened, ninety_days) for delivery in deliveries)
    return {
        EVENT_ROWS: [event_row(delivery) for delivery in deliveries],
        TEXT_ROWS: [row for row in texts if row is not None],
    }


def _cells(table: pa.Table) -> dict[tuple[Place, int], Cells]:
    rows = table.to_pylist()
    times = Counter(map(_key, rows))
    # Arrow writes a UUID as bytes, and reads it back as a UUID.
    return {
        _key(row): {TIMES: times[_key(row)]}
        if times[_key(row)] > 1
        else {name: getattr(value, "bytes", value) for name, value in row.items()}
        for row in rows
    }


def _key(row: Mapping[str, Any]) -> tuple[Place, int]:
    return (row["tenant_id"], row["conversation_id"]), row["seq"]
